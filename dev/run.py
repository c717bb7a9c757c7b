"""A server and an agent that watches this machine, in the foreground: what `make run` starts.

Data, configuration and key stay in var/, so the next run goes on where this one ended.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
NAGIOS = Path("/usr/lib/nagios/plugins")
SHIPPED = ROOT / "etc/overc/plugin.d"
START_S = 20.0
STOP_S = 15.0


class StartError(Exception):
    """Something did not start; the sentence is all that the user needs."""


def main() -> int:
    try:
        return run()
    except StartError as e:
        print(f"overc: {e}", file=sys.stderr)
        return 1


def run() -> int:
    # Signals have to end the children in order, whenever they come.
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, frame: stopping.append(signum))

    port = port_number()
    url = f"http://127.0.0.1:{port}/"
    VAR.mkdir(exist_ok=True)
    server_ini, agent_ini = VAR / "server.ini", VAR / "agent.ini"
    write_once(server_ini, server_config())
    write_once(agent_ini, agent_config())
    server = start(
        ["overc-server", "--config", str(server_ini)],
        {"OVERC_LISTEN": f"tcp:{port}:interface=127.0.0.1"},
        VAR / "server.log",
    )
    children = [server]
    try:
        wait_for_port(server, port, stopping, VAR / "server.log")
        if not stopping:
            children.append(
                start(
                    ["overc-agent", "--config", str(agent_ini)],
                    {"OVERC_SERVER": url, "PORT": str(port), "STATE_DIRECTORY": str(VAR)},
                    VAR / "agent.log",
                )
            )
            print(f"OverC  {url}  watches this machine")
            print(f"       database {VAR / 'overc.db'}, checks in {agent_ini}")
            print("       logs in var/; Ctrl-C ends it", flush=True)
        while not stopping and all(child.poll() is None for child in children):
            time.sleep(0.2)
    finally:
        # The agent first, so that its last report still finds a server.
        statuses = [stop(child) for child in reversed(children)]
    if not stopping:
        raise StartError("a part of it ended by itself: var/server.log and var/agent.log say why")
    print("\nOverC  stopped; make run goes on with the same data")
    # One that was still starting has not taken the signal into its own hands yet.
    return 0 if set(statuses) <= {0, -signal.SIGTERM} else 1


def port_number(target: str = "run") -> int:
    text = os.environ.get("PORT", "5000")
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise StartError(f"PORT={text} is no port: give a number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(text)))
        except OSError as e:
            raise StartError(
                f"port {text} can't be used ({e.strerror}):"
                f" take another one, make {target} PORT=5001"
            ) from None
    return int(text)


def write_once(path: Path, text: str) -> None:
    """Write a file, unless it is there: then it is the user's."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")


def server_config() -> str:
    log = shlex.join([str(ROOT / "etc/overc/alert.d/log.sh"), str(VAR / "alerts.log")])
    return f"""\
# Made by make run; change it as you like. etc/overc/server.ini explains the options.
[overc]
database=sqlite:///overc.db

[alert:log]
command={log}
"""


def agent_config() -> str:
    checks = nagios_checks() if (NAGIOS / "check_load").exists() else shipped_checks()
    sections = [
        f"[service:{name}]\nperiod=20\ncommand={shlex.join(command)}\n"
        for name, command in checks.items()
    ]
    return f"""\
# Made by make run; change it as you like. etc/overc/agent.ini explains the options.
[overc]
server=http://127.0.0.1:5000/
my-name={socket.gethostname()}
my-key={secrets.token_urlsafe(18)}

""" + "\n".join(sections)


def nagios_checks() -> dict[str, list[str]]:
    """Return checks by Debian's monitoring-plugins, and by ours where they have none."""
    return {
        "load": [str(NAGIOS / "check_load"), "-r", "-w", "2,1.5,1.5", "-c", "4,3,3"],
        "memory": [str(SHIPPED / "memory")],
        "disk": [str(NAGIOS / "check_disk"), "-w", "10%", "-c", "5%", "-p", "/"],
        "overc-server": [str(NAGIOS / "check_procs"), "-c", "1:", "-a", "overc-server"],
        "overc": ["sh", "-c", f'exec {NAGIOS}/check_http -H 127.0.0.1 -p "$PORT" -u /ui/'],
    }


def shipped_checks() -> dict[str, list[str]]:
    return {
        "load": [str(SHIPPED / "load")],
        "memory": [str(SHIPPED / "memory")],
        "disk": [str(SHIPPED / "disk"), "/"],
        "overc-server": [str(SHIPPED / "process"), "--pattern", "overc-server"],
        "overc": ["sh", "-c", f'exec {SHIPPED}/http "http://127.0.0.1:$PORT/ui/"'],
    }


def start(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a twistd in a session of its own: Ctrl-C reaches only us, and we end it in order."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", *command],
            env={**os.environ, **environment},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for_port(
    server: subprocess.Popen[bytes], port: int, stopping: list[int], log: Path
) -> None:
    until = time.monotonic() + START_S
    while not stopping:
        if server.poll() is not None or time.monotonic() > until:
            raise StartError(f"the server did not start: {last_line(log)}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "its log is empty"


def stop(child: subprocess.Popen[bytes]) -> int:
    """End a child and return its exit status."""
    if child.poll() is None:
        child.terminate()
    try:
        return child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


if __name__ == "__main__":
    sys.exit(main())
