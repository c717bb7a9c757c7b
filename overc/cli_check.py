"""`overcli check-config`: every mistake of INI files, before a daemon stumbles over it.

The daemons' own readers do the work. They are imported when this runs: each needs what its daemon
needs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from overc.client import printable
from overc.config import Config, ConfigError

AGENT, SERVER = "agent", "server"

FAILED = 1
READABLE_BY_ALL = 0o004

_AT = re.compile(r"(?P<file>.*?)(?::(?P<line>[0-9]+))?: (?P<reason>.*)", re.DOTALL)
_SECRETS = ("my-key", "ui-auth", "api-auth")
_OF_AN_AGENT = ("server", "my-name", "my-key")


class Checked(NamedTuple):
    """What was found. Each is a line as people read it, `file:line: [section] option: reason`."""

    kind: str
    paths: tuple[str, ...]
    mistakes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    size: int = 0
    """How many services or alert channels there are."""


class _Program(NamedTuple):
    """A command that is going to be run."""

    section: str
    words: tuple[str, ...]
    folder: str
    env: Mapping[str, str]


def check(paths: Sequence[str], environ: Mapping[str, str]) -> list[Checked]:
    """Read files as their daemons would do it here, with the same environment.

    Files of agents are read together, as one agent does it. Raises ModuleNotFoundError where what
    a daemon needs is not installed.
    """
    agents = [path for path in paths if any(_is_of_an_agent(Config(f)) for f in _files(path))]
    groups = [(AGENT, tuple(agents))] if agents else []
    groups += [(SERVER, (path,)) for path in paths if path not in agents]
    return [_check(kind, group, environ) for kind, group in groups]


def _check(kind: str, paths: tuple[str, ...], environ: Mapping[str, str]) -> Checked:
    configs = [Config(file) for path in paths for file in _files(path)]
    open_secrets = [line for config in configs for line in _open_secrets(config)]
    try:
        read = _read_agent(paths, environ) if kind == AGENT else _read_server(paths[0], environ)
    except ConfigError as e:
        return Checked(kind, paths, tuple(map(str, e.mistakes)), tuple(open_secrets))
    size, programs, warnings = read
    missing = [line for config in configs for line in _missing(config, programs)]
    return Checked(kind, paths, (), (*warnings, *missing, *open_secrets), size)


def text(found: Sequence[Checked]) -> str:
    """Return what a person, or an editor, reads."""
    lines = [line for one in found for line in (*one.mistakes, *map(_marked, one.warnings))]
    lines += map(_summary, found)
    return "".join(f"{printable(line)}\n" for line in lines)


def _marked(warning: str) -> str:
    return f"{warning} (warning)"


def _summary(one: Checked) -> str:
    if one.mistakes:
        said = _count(len(one.mistakes), "mistake")
    else:
        what = "service" if one.kind == AGENT else "alert channel"
        said = f"good for the {one.kind}, {_count(one.size, what)}"
    warned = f", {_count(len(one.warnings), 'warning')}" if one.warnings else ""
    return f"{' '.join(one.paths)}: {said}{warned}"


def as_json(found: Sequence[Checked]) -> str:
    content = {
        "ok": not any(one.mistakes for one in found),
        "files": [{"paths": one.paths, "kind": one.kind} for one in found],
        "mistakes": [_fields(line) for one in found for line in one.mistakes],
        "warnings": [_fields(line) for one in found for line in one.warnings],
    }
    return json.dumps(content, indent=2) + "\n"


def _read_agent(
    paths: Sequence[str], environ: Mapping[str, str]
) -> tuple[int, list[_Program], Iterable[str]]:
    from overc.agent.runner import environment_of
    from overc.agent.settings import load

    settings = load(list(paths), environ, {})
    programs = [
        _Program(
            f"service:{service.name}",
            service.command,
            service.folder,
            environment_of(service, environ),
        )
        for service in settings.services
    ]
    return len(programs), programs, settings.warnings


def _read_server(
    path: str, environ: Mapping[str, str]
) -> tuple[int, list[_Program], Iterable[str]]:
    from twisted.internet.endpoints import serverFromString

    from overc.daemon.settings import load

    # No endpoint uses its reactor before it listens.
    settings = load(path, environ, {}, lambda text: serverFromString(object(), text))
    programs = [
        _Program(f"alert:{plugin.name}", plugin.command, plugin.folder, environ)
        for plugin in settings.plugins
        if plugin.command
    ]
    return len(settings.plugins), programs, settings.warnings


def _files(path: str) -> list[str]:
    """Return the files that are meant; the agent takes a folder, too."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return [path]
    found = [name for name in names if name.endswith(".ini") and not name.startswith(".")]
    return [os.path.join(path, name) for name in found]


def _is_of_an_agent(config: Config) -> bool:
    if next(config.sections("service"), None) is not None:
        return True
    main = config.section("overc")
    return any(main.read(option, str, None) is not None for option in _OF_AN_AGENT)


def _missing(config: Config, programs: Iterable[_Program]) -> Iterator[str]:
    """Yield a warning for each command that is not there: its daemon starts all the same."""
    from overc.process import locate

    for program in programs:
        if not config.has(program.section):
            continue
        try:
            locate(program.words[0], program.folder, program.env)
        except OSError as e:
            config.section(program.section).warn("command", str(e))
            yield str(config.warnings[-1])


def _open_secrets(config: Config) -> Iterator[str]:
    main = config.section("overc")
    option = next((one for one in _SECRETS if main.read(one, str, None) is not None), None)
    try:
        readable = config.path is not None and os.stat(config.path).st_mode & READABLE_BY_ALL
    except OSError:
        return
    if option is not None and readable:
        main.warn(option, "everybody on this machine can read it: chmod o= the file")
        yield str(config.warnings[-1])


def _fields(line: str) -> dict[str, Any]:
    at = _AT.fullmatch(line)
    if at is None:
        return {"file": None, "line": None, "reason": line}
    number = at["line"]
    return {"file": at["file"], "line": int(number) if number else None, "reason": at["reason"]}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
