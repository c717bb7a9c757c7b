"""The plugins of etc/overc/plugin.d, run as the agent runs them."""

from __future__ import annotations

import base64
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from etc.plugins import FAIL, OK, PLUGINS, UNK, WARN, Result, plugin, run

NAMES = (
    "load",
    "memory",
    "swap",
    "disk",
    "process",
    "http",
    "tcp",
    "file-age",
    "systemd",
    "certificate",
)


def add_process(proc: Path, pid: int, comm: str, argv: list[str], state: str = "S") -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} ({comm}) {state} 1 1 1")
    (folder / "cmdline").write_text("".join(f"{arg}\0" for arg in argv))


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of four cores under a total load of 2, 4 and 6, and a tenth of memory to spare."""
    (tmp_path / "loadavg").write_text("2.00 4.00 6.00 1/100 1234\n")
    cores = "".join(f"cpu{core} 1 2 3 4\n" for core in range(4))
    (tmp_path / "stat").write_text(f"cpu  4 8 12 16\n{cores}intr 1\n")
    (tmp_path / "meminfo").write_text(
        "MemTotal:       1048576 kB\nMemFree:          1000 kB\nMemAvailable:    104858 kB\n"
    )
    for pid in (11, 12, 13):
        add_process(tmp_path, pid, "worker", ["worker", "-v"])
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_help_is_no_failure(name: str) -> None:
    state, text, _ = plugin(name, "--help")
    assert state == 0
    assert text.startswith("usage: ")
    assert "[@][start:]end" in text


@pytest.mark.parametrize("name", ["load", "memory", "disk"])
def test_defaults_measure_this_machine(name: str) -> None:
    result = plugin(name)
    assert result.state in (OK, WARN, FAIL)
    assert result.perfdata


@pytest.mark.parametrize(
    ("thresholds", "state"),
    [
        ([], OK),
        (["-c", "3"], OK),
        (["-c", "2"], FAIL),
        (["-w", "2.5"], WARN),
        (["-w", "2", "-c", "2"], FAIL),
        (["-w", "2", "-c", "9"], WARN),
        (["-c", "3:"], OK),
        (["-c", "4:"], FAIL),
        (["-c", "~:2"], FAIL),
        (["-c", "~:3"], OK),
        (["-c", "1:3"], OK),
        (["-c", "4:5"], FAIL),
        (["-c", "@3"], FAIL),
        (["-c", "@3:5"], FAIL),
        (["-c", "@4:5"], OK),
        (["--critical", "@~:3"], FAIL),
        (["--warning", "@3:"], WARN),
        (["-w", ".5"], WARN),
    ],
)
def test_thresholds(proc: Path, thresholds: list[str], state: int) -> None:
    result = plugin("process", "--proc", proc, *thresholds, "worker")
    assert result.state == state
    assert result.text.startswith('3 processes named "worker"')
    assert (" (WARN)" in result.text, " (FAIL)" in result.text) == (state == WARN, state == FAIL)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", ["", ":", "~", "@", "ten", "80%", "1,5", "5:1", "nan", "1:2:3"])
def test_bad_range_is_unk_with_a_sentence(name: str, bad: str) -> None:
    result = plugin(name, "-w", bad)
    assert result.state == UNK
    assert f'"{bad}"' in result.text
    assert "--help" in result.text
    assert "Traceback" not in result.text
    assert result.text.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["process"], "NAME"),
        (["process", ""], "program name"),
        (["process", "/usr/sbin/sshd"], "without its folder"),
        (["process", "--pattern", "("], "regular expression"),
        (["process", "--pattern", "x", "name"], "not allowed with"),
        (["load", "-w", "1,2"], "give one for all or three"),
        (["load", "-c"], "expected one argument"),
        (["memory", "surplus"], "unrecognized arguments"),
        (["disk", "--warn", "1"], "unrecognized arguments"),
        (["load", "--proc", "/nonexistent"], "cannot read /nonexistent/loadavg"),
        (["http"], "URL"),
        (["http", "example.com"], "https://example.com/path"),
        (["http", "ftp://example.com/"], "not a URL"),
        (["http", "http://user:secret@host:port/"], "not a URL"),
        (["http", "http://a..b/"], "not a URL"),
        (["http", "http://a b/"], "correct the URL"),
        (["http", "--timeout", "0", "http://localhost/"], "number of seconds"),
        (["http", "--timeout", "soon", "http://localhost/"], "number of seconds"),
    ],
)
def test_wrong_arguments_are_unk(command: list[str], said: str) -> None:
    result = plugin(command[0], *command[1:])
    assert result.state == UNK
    assert said in result.text
    assert "secret" not in result.text
    assert result.text.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "state", "text", "first"),
    [
        ([], OK, "load 0.50, 1.00, 1.50 per core, 4 cores", "'load1'=0.5;2;4;0; "),
        (["-w", "1,1,1"], WARN, "load 0.50, 1.00, 1.50 (WARN) per core", "'load1'=0.5;1;4;0; "),
        (["-c", ".4,9,9"], FAIL, "load 0.50 (FAIL), 1.00, 1.50 per core", "'load1'=0.5;2;0.4;0; "),
        (["--total", "-w", "9", "-c", "9"], OK, "load 2.00, 4.00, 6.00 in total", "'load1'=2;9;9"),
    ],
)
def test_load(proc: Path, args: list[str], state: int, text: str, first: str) -> None:
    result = plugin("load", "--proc", proc, *args)
    assert result.state == state
    assert result.text.startswith(text)
    assert result.perfdata.startswith(first)


def test_memory_does_not_count_cache(proc: Path) -> None:
    result = plugin("memory", "--proc", proc)
    assert result.state == WARN
    assert result.text == "memory 90.0% used (WARN), 0.9 of 1.0 GiB"
    assert result.perfdata == ("'used'=89.999962%;80;90;0;100 'bytes'=966367232B;;;0;1073741824")


def test_memory_of_an_old_kernel(proc: Path) -> None:
    (proc / "meminfo").write_text("MemTotal: 1 kB\n")
    result = plugin("memory", "--proc", proc)
    assert result.state == UNK
    assert "MemAvailable" in result.text


@pytest.mark.parametrize(
    ("args", "state"),
    [
        (["-w", "~:", "-c", "~:"], OK),
        (["-w", "@~:", "-c", "~:"], WARN),
        (["-w", "@~:", "-c", "@~:"], FAIL),
    ],
)
@pytest.mark.parametrize("inodes", [False, True])
def test_disk(tmp_path: Path, args: list[str], state: int, inodes: bool) -> None:
    stat = os.statvfs(tmp_path)
    if inodes and not stat.f_files:
        pytest.skip("this file system has no inode count")
    others = ["-w", "~:", "-c", "~:"]
    space, inode = (others, args) if inodes else (args, others)
    inode = [word.replace("-w", "-W").replace("-c", "-C") for word in inode]
    result = plugin("disk", *space, *inode, tmp_path)
    assert result.state == state
    size = stat.f_frsize * (stat.f_blocks - stat.f_bfree + stat.f_bavail)
    total = re.search(r" bytes'=(\d+)B;;;0;(\d+)", result.perfdata)
    assert total is not None
    assert 0 <= int(total[1]) <= int(total[2])
    assert int(total[2]) == pytest.approx(size, rel=0.05)


def test_disk_missing_path_hides_no_other(tmp_path: Path) -> None:
    missing = tmp_path / "gone"
    quiet = ["-w", "~:", "-c", "~:", "-W", "~:", "-C", "~:"]
    result = plugin("disk", *quiet, missing, tmp_path)
    assert result.state == UNK
    assert f"{missing}: No such file or directory" in result.text
    assert f"'{tmp_path}'=" in result.perfdata
    assert plugin("disk", *quiet, "-c", "@~:", missing, tmp_path).state == FAIL


def test_disk_label_is_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "it's a=b|c\nd"
    folder.mkdir()
    result = plugin("disk", "-c", "~:", folder)
    assert "it's a=b?c d " in result.text
    assert "it''s a_b?c d'=" in result.perfdata


@pytest.mark.parametrize(
    ("comm", "argv", "state", "args", "count"),
    [
        ("worker", ["/usr/bin/worker"], "S", ["worker"], 4),
        ("a) (b", ["renamed"], "R", ["a) (b"], 1),
        ("kthread", [], "S", ["kthread"], 1),
        ("worker", [], "Z", ["worker"], 3),
        ("python3", ["/opt/tool"], "S", ["tool"], 1),
        ("a-very-long-scr", ["/bin/sh", "/opt/a-very-long-script"], "S", ["a-very-long-script"], 1),
        ("a-very-long-scr", ["/bin/sh", "/opt/a-very-long-scroll"], "S", ["a-very-long-script"], 0),
        ("java", ["java", "-jar", "shop.jar"], "S", ["--pattern", r"-jar sh.p\.jar$"], 1),
        ("java", ["java", "-jar", "shop.jar"], "S", ["shop.jar"], 0),
        ("python3", ["python3", f"{PLUGINS}/process", "rare"], "S", ["--pattern", "rare"], 0),
        ("sudo", ["sudo", f"{PLUGINS}/process", "rare"], "S", ["--pattern", "rare"], 0),
        ("sh", ["sh", "-c", f"{PLUGINS}/process rare"], "S", ["--pattern", "rare"], 0),
    ],
)
def test_process_matching(
    proc: Path, comm: str, argv: list[str], state: str, args: list[str], count: int
) -> None:
    add_process(proc, 20, comm, argv, state)
    result = plugin("process", "--proc", proc, *args)
    assert result.perfdata == f"'processes'={count};;1:;0;"
    assert result.state == (OK if count else FAIL)


def test_process_of_a_real_child(tmp_path: Path) -> None:
    name = f"probe-{os.getpid()}"
    script = tmp_path / name
    script.write_text("#!/bin/sh\nread line\n")
    script.chmod(0o755)
    with subprocess.Popen([script], stdin=subprocess.PIPE) as child:
        assert plugin("process", name).perfdata == "'processes'=1;;1:;0;"
        assert plugin("process", "--pattern", name).state == OK
        assert child.stdin is not None
        child.stdin.close()
        # Ended but not yet waited for: a zombie does not run.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        result = plugin("process", name)
    assert result.state == FAIL
    assert result.text == f'0 processes named "{name}" (FAIL)'


def test_process_does_not_count_itself() -> None:
    pattern = f"nothing-has-this-{os.getpid()}"
    for command in (
        f"exec {PLUGINS}/process --pattern {pattern}",
        f"{PLUGINS}/process --pattern {pattern}; exit $?",
        f"cd {PLUGINS}; exec python3 process --pattern {pattern}",
    ):
        result = run("sh", "-c", command)
        assert result.state == FAIL
        assert result.text.startswith("0 processes")


class Handler(BaseHTTPRequestHandler):
    released = threading.Event()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/slow":
            self.released.wait(60)
        elif path == "/drip":
            self.reply(200, b"", {"Content-Length": "100000"})
            while not self.released.wait(0.02):
                self.wfile.write(b"x")
        elif path == "/garbage":
            self.wfile.write(b"SSH-2.0-nothing\r\n\r\n")
        elif path == "/broken":
            self.reply(200, b"half", {"Content-Length": "1000"})
        elif path == "/loop":
            self.reply(302, b"", {"Location": "/loop"})
        elif path == "/moved":
            self.reply(308, b"", {"Location": "/auth"})
        elif path == "/elsewhere":
            port = self.headers["Host"].rpartition(":")[2]
            self.reply(302, b"", {"Location": f"http://localhost:{port}/auth"})
        elif path == "/to-unicode":
            self.reply(302, b"", {"Location": "/süß".encode().decode("latin-1")})
        elif path == "/s%C3%BC%C3%9F":
            self.reply(200, b"", {})
        elif path == "/to-file":
            self.reply(302, b"", {"Location": "file:///etc/passwd"})
        elif path == "/big":
            self.reply(200, b"x" * 2**20 + b"late", {})
        elif path == "/latin":
            self.reply(200, "süß".encode("latin-1"), {"Content-Type": "text/plain; charset=latin1"})
        elif path == "/auth":
            wanted = "Basic " + base64.b64encode(b"me:pass word").decode()
            self.reply(200 if self.headers["Authorization"] == wanted else 401, b"", {})
        else:
            self.reply(int(path[1:]), b"all is well", {})

    def reply(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """The output of the tests is no access log."""


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A plugin that hangs up early is what some tests are about."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with QuietServer(("127.0.0.1", 0), Handler) as instance:
        threading.Thread(target=instance.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{instance.server_port}"
        Handler.released.set()
        instance.shutdown()


def http(url: str, *args: str) -> Result:
    # Later options win: a slow machine must not change a state.
    return plugin("http", "-w", "60", "-c", "60", "--timeout", "60", *args, url)


@pytest.mark.parametrize(
    ("path", "args", "state", "said"),
    [
        ("200", [], OK, "200 OK in "),
        ("200", ["--string", "is well"], OK, ""),
        ("200", ["--string", "is ill"], FAIL, '"is ill" is not in the body'),
        ("404", [], WARN, "404 Not Found (WARN)"),
        ("404", ["--string", "is ill"], FAIL, "404 Not Found (WARN)"),
        ("500", [], FAIL, "500 Internal Server Error (FAIL)"),
        ("503", [], FAIL, "503 Service Unavailable (FAIL)"),
        ("200", ["-w", "@0:60"], WARN, " s (WARN)"),
        ("200", ["-c", "@0:60"], FAIL, " s (FAIL)"),
        ("big", [], OK, "1048576 bytes"),
        ("big", ["--string", "late"], FAIL, "not in the body"),
        ("latin", ["--string", "süß"], OK, ""),
    ],
)
def test_http(server: str, path: str, args: list[str], state: int, said: str) -> None:
    result = http(f"http://{server}/{path}?token=secret", *args)
    assert result.state == state
    assert result.text.startswith(f"http://{server}/{path}: ")
    assert said in result.text
    assert "secret" not in result.text
    assert re.fullmatch(r"'time'=[\d.]+s;.*;.*;0;60 'size'=\d+B;;;0;", result.perfdata)


@pytest.mark.parametrize(
    ("url", "args", "said"),
    [
        ("http://{}/slow", ["--timeout", "0.2"], "no complete reply within 0.2 seconds"),
        ("http://{}/drip", ["--timeout", "0.5"], "no complete reply within 0.5 seconds"),
        ("http://{}/broken", [], "broke off"),
        ("http://{}/garbage", [], "not proper HTTP"),
        ("http://{}/loop", [], "redirected more than 10 times"),
        ("http://{}/to-file", [], "not an http URL"),
        ("https://{}/200", [], "TLS failed"),
        ("http://name.invalid/", ["--timeout", "2"], "http://name.invalid/: "),
    ],
)
def test_http_without_a_reply(server: str, url: str, args: list[str], said: str) -> None:
    result = http(url.format(server), *args)
    assert result.state == FAIL
    assert said in result.text
    assert result.text.count("\n") == 1


def test_http_refused() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens
        result = http(f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert result.state == FAIL
    assert "Connection refused" in result.text


@pytest.mark.parametrize(
    ("user", "path", "said"),
    [
        ("me:pass%20word@", "auth", ": 200 OK in"),
        ("me:pass%20word@", "moved", ": 200 OK in"),
        ("me:pass%20word@", "elsewhere", ": 401 Unauthorized (WARN)"),
        ("", "auth", ": 401 Unauthorized (WARN)"),
        ("", "to-unicode", ": 200 OK in"),
    ],
)
def test_http_credentials_and_redirects(server: str, user: str, path: str, said: str) -> None:
    result = http(f"http://{user}{server}/{path}")
    assert said in result.text
    assert "pass" not in result.text
