"""`overcli init`: the first INI file of an agent, with checks for this machine.

What fits is decided by `choose`, out of what `look` has found.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import secrets
import shlex
import socket
import stat
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from overc.client import Client, ClientError, ServerUrl, parse_url
from overc.config import Config, ConfigError, Mistake
from overc.model import ServerIdentity
from overc.wording import span

DEFAULT_FILE = "agent.ini"

NAGIOS_FOLDERS = (
    "/usr/lib/nagios/plugins",
    "/usr/lib64/nagios/plugins",
    "/usr/lib/monitoring-plugins",
    "/usr/local/libexec/nagios",
)

KEY_BYTES = 24
PING_S = 10.0
DISKS_MOST = 8
LISTENING = "0A"

# How /proc writes a space in a path; and file systems that are full by their nature.
_OCTAL = re.compile(r"\\([0-7]{3})")
_NO_DISKS = frozenset(("squashfs", "iso9660", "erofs", "udf"))


class Machine(NamedTuple):
    """What was found here."""

    nagios: str = ""
    """The folder with Nagios plugins; empty: there is none."""
    nagios_plugins: frozenset[str] = frozenset()
    shipped: str = ""
    """The folder with our own plugins."""
    shipped_plugins: frozenset[str] = frozenset()
    disks: tuple[str, ...] = ("/",)
    has_swap: bool = False
    has_systemd: bool = False
    ports: frozenset[int] = frozenset()
    """TCP ports on which somebody listens."""


class Check(NamedTuple):
    """A service for the INI file."""

    name: str
    period_s: int
    command: tuple[str, ...]


class Made(NamedTuple):
    """What `init` did."""

    path: str
    name: str
    checks: tuple[Check, ...]
    kept_key: bool
    refusal: str
    """Why the server did not answer the ping; empty if it did."""
    unit: str = ""
    """The agent's unit for systemd, where that runs and the unit is at hand."""


def init(args: argparse.Namespace, url: ServerUrl) -> Made:
    """Write the file and ping the server with it. Raises ConfigError when nothing is written."""
    path = args.config or DEFAULT_FILE
    name = args.server_id.name if args.server_id else args.name or socket.gethostname()
    if not path.isprintable() or not path.strip():
        raise ConfigError([Mistake("--config", f"{path!r} can't be the name of a file here")])
    if not name.isprintable() or name != name.strip() or not name:
        raise ConfigError([Mistake(path, f"{name!r} can't be a name: pick one with --name")])
    old_key = _key_of(path, url, name) if args.force else None
    key = args.server_id.key if args.server_id else old_key or secrets.token_hex(KEY_BYTES)
    machine = look()
    checks = choose(machine)
    text = ini(args.url[0], name, key, checks, path)
    try:
        write(path, text, over=args.force)
    except FileExistsError:
        reason = "is there, and stays as it is: name another one with --config, or give --force"
        raise ConfigError([Mistake(path, reason)]) from None
    except OSError as e:
        raise ConfigError([Mistake(path, f"can't be written: {e.strerror}")]) from None
    refusal = ""
    try:
        Client(url, ServerIdentity(name, key), deadline_s=PING_S).ping()
    except ClientError as e:
        refusal = str(e)
    return Made(path, name, checks, bool(old_key), refusal, unit_of(machine))


def unit_of(machine: Machine) -> str:
    """Return the path of the agent's unit, which is installed beside our plugins."""
    unit = os.path.join(os.path.dirname(machine.shipped), "systemd/overc-agent.service")
    return unit if machine.has_systemd and machine.shipped and os.path.isfile(unit) else ""


def choose(machine: Machine) -> tuple[Check, ...]:
    """Return the checks that fit a machine: Nagios plugins where they are there, or else ours."""

    def either(nagios: Sequence[str], shipped: Sequence[str]) -> tuple[str, ...]:
        for folder, there, words in (
            (machine.nagios, machine.nagios_plugins, nagios),
            (machine.shipped, machine.shipped_plugins, shipped),
        ):
            if words and words[0] in there:
                return (os.path.join(folder, words[0]), *words[1:])
        return ()

    paths = [word for disk in machine.disks for word in ("-p", disk)]
    commands = [
        (
            "load",
            60,
            either(
                ["check_load", "-r", "-w", "2,1.5,1.5", "-c", "4,3,3"],
                ["load", "-w", "2,1.5,1.5", "-c", "4,3,3"],
            ),
        ),
        ("memory", 60, either([], ["memory", "-w", "80", "-c", "90"])),
        (
            "disk",
            300,
            either(
                ["check_disk", "-w", "20%", "-c", "10%", *paths],
                ["disk", "-w", "80", "-c", "90", *machine.disks],
            ),
        ),
        ("zombies", 300, either(["check_procs", "-w", "5", "-c", "20", "-s", "Z"], [])),
    ]
    if machine.has_swap:
        # The Nagios plugin counts what is free.
        swap = either(["check_swap", "-w", "40%", "-c", "10%"], ["swap", "-w", "60", "-c", "90"])
        commands.append(("swap", 300, swap))
    if machine.has_systemd:
        commands.append(("systemd", 60, either([], ["systemd"])))
    if 22 in machine.ports:
        ssh = either(["check_ssh", "localhost"], ["tcp", "--expect", "SSH-", "localhost:22"])
        commands.append(("ssh", 300, ssh))
    return tuple(Check(*found) for found in commands if found[2])


def look() -> Machine:
    """Return what is found on this machine."""
    nagios, nagios_plugins = _first_folder(NAGIOS_FOLDERS, "check_")
    shipped, shipped_plugins = _first_folder(_shipped_folders())
    return Machine(
        nagios,
        nagios_plugins,
        shipped,
        shipped_plugins,
        _disks("/proc/self/mounts"),
        _has_swap("/proc/meminfo"),
        os.path.isdir("/run/systemd/system"),
        _ports("/proc/net/tcp") | _ports("/proc/net/tcp6"),
    )


def ini(url: str, name: str, key: str, checks: Sequence[Check], path: str) -> str:
    """Return the text of the INI file."""
    file = shlex.quote(path)
    lines = [
        f"# The OverC agent of this machine. Made by overcli init, {time.strftime('%Y-%m-%d')};",
        "# change it as you like, then: overcli check-config " + file,
        "#",
        "#   period    the promise: a report at least that often (20, 5m, 1h)",
        "#   timeout   how long the command may take; without it the period, 60 seconds at most",
        "#",
        "# A command runs in this file's folder, without a shell. Its output is the info, its",
        "# exit status the state: 0 OK, 1 WARN, 2 FAIL, anything else UNK.",
        "",
        "[overc]",
        f"server={url}",
        f"my-name={name}",
        "# Whoever has the key can report under the name: keep this file to yourself.",
        f"my-key={key}",
    ]
    for check in checks:
        lines += [
            "",
            f"[service:{check.name}]",
            f"period={check.period_s}",
            f"command={shlex.join(check.command)}",
        ]
    if not checks:
        lines += [
            "",
            "# No plugin was found here. On Debian: apt install monitoring-plugins-basic",
            "#[service:load]",
            "#period=60",
            "#command=/usr/lib/nagios/plugins/check_load -r -w 2,1.5,1.5 -c 4,3,3",
        ]
    return "\n".join(lines) + "\n"


def write(path: str, text: str, *, over: bool) -> None:
    """Write a file that only its owner may read, whole or not at all. Raises OSError.

    Without `over`, a file that is there is an error and stays as it is.
    """
    if over:
        descriptor, new = tempfile.mkstemp(
            prefix=".overc-", dir=os.path.dirname(os.path.abspath(path))
        )
    else:
        descriptor, new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), path
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if over:
            os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def said(made: Made, url: ServerUrl) -> str:
    """Return what a person reads."""
    file = shlex.quote(made.path)
    key = "the key that it had" if made.kept_key else "a random key"
    count = len(made.checks)
    plural = "" if count == 1 else "s"
    checks = f"{count} check{plural}:" if count else "no checks, since no plugin was found here"
    lines = [f"wrote {made.path}: {made.name} with {key}, {checks}"]
    width = max((len(check.name) for check in made.checks), default=0)
    for name, period_s, command in made.checks:
        every = span(period_s).partition(" ")[0]
        lines.append(f"  {name:<{width}}  every {every:<3}  {shlex.join(command)}")
    if made.refusal:
        next_steps = [("overcli check-config " + file, "after you have changed it")]
    else:
        lines.append(f"{url} answers and knows {made.name}")
        next_steps = []
    lines.append("next:")
    next_steps += [
        (f"overcli monitor --once {file}", "what the checks say; sends nothing"),
        (f"overcli monitor {file}", "report, until Ctrl-C"),
        (f"twistd overc-agent --config {file}", "report, in the background"),
    ]
    if made.unit:
        next_steps.append((f"less {shlex.quote(made.unit)}", "how systemd starts it"))
    width = max(len(step) for step, _ in next_steps)
    lines += [f"  {step:<{width}}  {why}" for step, why in next_steps]
    return "\n".join(lines) + "\n"


def as_json(made: Made, url: ServerUrl) -> dict[str, Any]:
    return {
        "file": made.path,
        "server": str(url),
        "name": made.name,
        "services": [
            {"name": name, "period": period_s, "command": list(command)}
            for name, period_s, command in made.checks
        ],
        "pong": not made.refusal,
        "error": made.refusal or None,
    }


def check_url(text: str) -> ServerUrl:
    """Read the URL for the file. Raises ValueError with a sentence that repeats no password."""
    if not text.isprintable() or " " in text:
        raise ValueError("a URL can't hold white space or control characters")
    return parse_url(text)


def _key_of(path: str, url: ServerUrl, name: str) -> str | None:
    """Return the key of a file that is to be written over: the server knows the name by it."""
    main = Config(path).section("overc")
    try:
        same = str(parse_url(main.read("server", str, ""))) == str(url)
    except ValueError:
        return None
    same = same and main.read("my-name", str, "") == name
    return (main.read("my-key", str, "") or None) if same else None


def _shipped_folders() -> tuple[str, ...]:
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders = [os.path.join(checkout, "etc/overc/plugin.d")]
    for data in (sysconfig.get_path("data"), sysconfig.get_path("data", f"{os.name}_user")):
        folders.append(os.path.join(data, "share/overc/plugin.d"))
    return (*folders, "/usr/share/overc/plugin.d", "/etc/overc/plugin.d")


def _first_folder(folders: Sequence[str], prefix: str = "") -> tuple[str, frozenset[str]]:
    """Return the first of some folders that holds programs, and their names."""
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        found = frozenset(
            name
            for name in names
            if name.startswith(prefix)
            and os.path.isfile(os.path.join(folder, name))
            and os.access(os.path.join(folder, name), os.X_OK)
        )
        if found:
            return folder, found
    return "", frozenset()


def _disks(mounts: str) -> tuple[str, ...]:
    """Return where file systems on disks are mounted, each once, `/` first."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):
        found[os.stat("/").st_dev] = "/"
    for line in _lines(mounts):
        device, escaped, kind, *_ = [*line.split(" "), "", ""]
        path = _OCTAL.sub(lambda code: chr(int(code[1], 8)), escaped)
        if not device.startswith("/dev/") or kind in _NO_DISKS or not path.isprintable():
            continue
        with contextlib.suppress(OSError):
            about = os.stat(path)
            # A file may be mounted too, as containers do it.
            if stat.S_ISDIR(about.st_mode):
                found.setdefault(about.st_dev, path)
    return tuple(found.values())[:DISKS_MOST] or ("/",)


def _ports(path: str) -> frozenset[int]:
    rows = [line.split() for line in _lines(path)[1:]]
    return frozenset(
        int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == LISTENING
    )


def _has_swap(path: str) -> bool:
    return any(
        line.startswith("SwapTotal:") and line.split()[1:2] != ["0"] for line in _lines(path)
    )


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []
