"""The wheel as a user installs it: outside the checkout, on every Python that is here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import venv
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command], capture_output=True, text=True, timeout=300, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp("source")
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", target, source)
    [built] = target.glob("*.whl")
    return built


def interpreter(version: str) -> str:
    """Return a Python of a version, or skip."""
    candidates = [f"python{version}"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}")))
    for candidate in candidates:
        try:
            asked = subprocess.run([candidate, "-c", "pass"], capture_output=True)
        except OSError:
            continue
        if asked.returncode == 0:
            return candidate
    pytest.skip(f"there is no Python {version} here")


class Pong(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"pong": 1}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("version", PYTHONS)
def test_the_client_is_one_package_and_pings(version: str, wheel: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    run(python, "-m", "venv", "--without-pip", tmp_path / "env")
    inside = tmp_path / "env/bin/python"
    run(sys.executable, "-m", "pip", "--python", inside, "install", "--quiet", wheel)
    listed = run(sys.executable, "-m", "pip", "--python", inside, "list", "--format=json")
    assert [package["name"] for package in json.loads(listed.stdout)] == ["overc"]
    server = HTTPServer(("127.0.0.1", 0), Pong)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        overcli = tmp_path / "env/bin/overcli"
        done = run(overcli, "-s", url, "-i", "web1:1234", "ping", cwd=tmp_path)
        made = run(overcli, "init", url, "--json", cwd=tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    assert done.stdout == f"pong from {url}/\n"
    commands = {one["name"]: one["command"] for one in json.loads(made.stdout)["services"]}
    memory = commands["memory"]
    assert memory[0] == str(tmp_path / "env/share/overc/plugin.d/memory")
    assert run(*memory, "-w", "~:", "-c", "~:").stdout.startswith("memory ")


def test_twistd_finds_both_plugins_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """The dependencies come from this environment, OverC itself from the wheel alone."""
    env = tmp_path / "env"
    venv.create(env, with_pip=False)
    inside = env / "bin/python"
    run(sys.executable, "-m", "pip", "--python", inside, "install", "--quiet", "--no-deps", wheel)
    [site] = env.glob("lib/python*/site-packages")
    here = Path(sys.prefix) / "lib" / site.parent.name / "site-packages"
    # Appended, so that the wheel's own files come first; without the checkout's .pth files.
    (site / "dependencies.pth").write_text(f"{here}\n")
    told = run(
        inside,
        "-c",
        "import sys, overc; sys.argv = ['twistd', '--help'];"
        "print(overc.__file__); from twisted.scripts.twistd import run; run()",
        cwd=tmp_path,
    ).stdout
    assert told.startswith(str(site)), told
    assert "overc-server" in told
    assert "overc-agent" in told


def test_all_examples_plugins_and_units_are_in_the_wheel(wheel: Path) -> None:
    names = run(sys.executable, "-m", "zipfile", "-l", wheel).stdout
    shipped = run("git", "ls-files", "etc", cwd=ROOT).stdout.split()
    assert "etc/systemd/overc-server.service" in shipped
    for path in shipped:
        inside = path.removeprefix("etc/").removeprefix("overc/")
        assert f"data/share/overc/{inside} " in names


def test_the_wheel_holds_what_is_read_at_run_time(wheel: Path) -> None:
    names = run(sys.executable, "-m", "zipfile", "-l", wheel).stdout
    for kind, folder in (
        ("sql", "overc/daemon/store/schema"),
        ("html", "overc/web/templates"),
        ("svg", "overc/web/templates"),
        ("css", "overc/web/static"),
        ("js", "overc/web/static"),
    ):
        for path in (ROOT / folder).rglob(f"*.{kind}"):
            assert str(path.relative_to(ROOT)) in names
