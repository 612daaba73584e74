"""The supervisor, its guards and its stops, with small services in place of the real ones."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bcweb.embedded import linux, services
from tests.embedded.conftest import ROOT, Child, wait_until

# argv: state, port, JSON list of [name, command, …], JSON of what must be alive.
SUPERVISOR = """
import json, sys
from pathlib import Path
from bcweb.embedded import linux, paths
from bcweb.embedded.errors import StartupError
from bcweb.embedded.process import Service
from bcweb.embedded.readiness import Readiness
from bcweb.embedded.roster import Plan
from bcweb.embedded.supervisor import Supervisor

state, port = Path(sys.argv[1]), int(sys.argv[2])
table = [Service(name, f"the {name}", tuple(command)) for name, *command in json.loads(sys.argv[3])]
setup = next((service for service in table if service.name == "setup"), None)
running = tuple(service for service in table if service.name != "setup")
plan = Plan(
    services=running,
    stop_groups=tuple((service.name,) for service in running),
    setup=setup,
    readiness=Readiness("127.0.0.1", port, wanted=json.loads(sys.argv[4])),
)
try:
    supervisor = Supervisor(plan, state=state, host="127.0.0.1", port=port, folder=state)
    sys.exit(supervisor.run())
except StartupError as error:
    print("error:", error, flush=True)
    sys.exit(1)
"""

# A web server that answers /readyz, with the services that have noted that they are up; argv: port,
# where to note its end. Its child has left its session, its grandchild's parent is gone: both must
# still end with it.
WEB = """
import glob, http.server, json, os, signal, subprocess, sys, time
subprocess.Popen(["sh", "-c", "(sleep 987 &) ; exec sleep 986"], start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        up = glob.glob(glob.escape(sys.argv[2]) + ".up.*")
        body = json.dumps({"services": {path.rpartition(".")[2]: 1 for path in up}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
def end(*args):
    open(sys.argv[2], "a").write("web\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

# argv: where to note its end, the name to note.
WORKER = """
import os, signal, sys, time
def end(*args):
    open(sys.argv[1], "a").write(sys.argv[2] + "\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("started", os.getpid(), flush=True)
open(f"{sys.argv[1]}.up.{sys.argv[2]}", "w").close()
signal.pause()
"""

# argv: where it would note its end, its name.
STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"{sys.argv[1]}.up.{sys.argv[2]}", "w").close()
while True:
    signal.pause()
"""


@pytest.fixture
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs are given, so nothing embedded is started: for tests that are about services."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/bcweb")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def table(state: Path, port: int, *more: list[str]) -> list[list[str]]:
    """Return a service table whose services note in STATE/ends in which order they ended."""
    ends = str(state / "ends")
    return [
        ["web", sys.executable, "-c", WEB, str(port), ends],
        ["worker", sys.executable, "-c", WORKER, ends, "worker"],
        *more,
    ]


def supervisor(
    start: Callable[..., Child], state: Path, port: int, services_table: list[list[str]]
) -> Child:
    wanted = {name: 1 for name, *_ in services_table if name not in ("setup", "web")}
    return start(SUPERVISOR, str(state), str(port), json.dumps(services_table), json.dumps(wanted))


def stubborn(state: Path, name: str) -> list[str]:
    """Return a row of the table: a service that ignores the stop."""
    return [name, sys.executable, "-c", STUBBORN, str(state / "ends"), name]


def seconds_stopping(child: Child) -> float:
    """Return how long the supervisor took for its stop, as it says: without the time in which a
    busy machine gave it no processor before and afterwards."""
    (told,) = [line for line in child.seen if "stopped in" in line]
    return float(told.split()[-2])


def tree(child: Child) -> list[int]:
    """Return everything below the supervisor, with the keepers' servers."""
    return linux.descendants(child.process.pid)


def service_process(state: Path, name: str) -> int:
    """Return the process that a service noted in its log at its last start."""
    lines = (state / "log" / f"{name}.log").read_text().splitlines()
    return int(lines[-1].split()[1])


def test_everything_starts_and_stops_in_order(
    state: Path, port: int, start: Callable[..., Child]
) -> None:
    note = [
        "setup",
        sys.executable,
        "-c",
        "import os; print(os.environ['DATABASE_URL'], os.environ['BCWEB_URL'])",
    ]
    child = supervisor(start, state, port, table(state, port, note))
    line = child.read_until("is ready at")
    assert line == f"bcweb is ready at http://127.0.0.1:{port}\n"
    said = (state / "log" / "setup.log").read_text()
    assert f"http://127.0.0.1:{port}" in said
    assert "postgresql://app@" in said
    everything = tree(child)
    assert len(everything) >= 10
    child.signal(signal.SIGTERM)
    assert child.end() == 0
    assert (state / "ends").read_text() == "web\nworker\n"
    # A server that takes longer than the supervisor waits is stopped by its keeper all the same.
    wait_until(lambda: not any(linux.is_alive(pid) for pid in everything))
    log = (state / "log" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")


def test_interrupt_stops_it_like_terminate(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    child = supervisor(start, state, port, table(state, port))
    child.read_until("is ready at")
    child.signal(signal.SIGINT)
    assert child.end() == 0
    assert (state / "ends").read_text() == "web\nworker\n"


def test_supervisor_killed_outright_leaves_no_process(
    state: Path, port: int, start: Callable[..., Child]
) -> None:
    child = supervisor(start, state, port, table(state, port))
    child.read_until("is ready at")
    everything = tree(child)
    child.signal(signal.SIGKILL)
    child.process.wait()
    wait_until(lambda: not any(linux.is_alive(pid) for pid in everything))
    # And the same folder can be used again at once.
    again = supervisor(start, state, port, table(state, port))
    again.read_until("is ready at")
    again.signal(signal.SIGTERM)
    assert again.end() == 0


def test_everything_killed_at_once_leaves_no_process(
    state: Path, port: int, start: Callable[..., Child]
) -> None:
    """Supervisor, guards and keepers die in the same moment: only the kernel can clean up."""
    child = supervisor(start, state, port, [*table(state, port)[1:]])
    wait_until(lambda: (state / "log" / "worker.log").exists())
    wait_until(lambda: "started" in (state / "log" / "worker.log").read_text())
    everything = tree(child)
    watchers = [pid for pid in everything if b"launch.py" in command_line(pid)]
    assert len(watchers) == 3
    linux.kill_all([child.process.pid, *watchers])
    child.process.wait()
    wait_until(lambda: not any(linux.is_alive(pid) for pid in everything))


def test_second_supervisor_on_the_same_folder_is_refused_in_one_line(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    first = supervisor(start, state, port, table(state, port))
    first.read_until("is ready at")
    second = supervisor(start, state, port + 1, table(state, port + 1))
    assert second.end() == 1
    (line,) = second.seen
    assert f"already runs on {state} (process {first.process.pid})" in line
    first.signal(signal.SIGTERM)
    assert first.end() == 0


def test_port_in_use_is_refused_before_anything_starts(
    state: Path, port: int, start: Callable[..., Child]
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        child = supervisor(start, state, port, table(state, port))
        assert child.end() == 1
    (line,) = child.seen
    assert f"Port {port}" in line
    assert f"make run PORT={port + 1}" in line
    assert not (state / "postgres").exists()


def test_crashed_service_is_started_again(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    child = supervisor(start, state, port, table(state, port))
    child.read_until("is ready at")
    crashed = service_process(state, "worker")
    os.kill(crashed, signal.SIGKILL)
    assert "exit code 137" in child.read_until("the worker ended")
    wait_until(lambda: service_process(state, "worker") != crashed)
    assert linux.is_alive(service_process(state, "worker"))
    child.signal(signal.SIGTERM)
    assert child.end() == 0


def test_service_whose_guard_was_killed_is_started_again_without_leftovers(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    child = supervisor(start, state, port, table(state, port))
    child.read_until("is ready at")
    guard = next(pid for pid in linux.children(child.process.pid) if is_guard_of(pid, "986"))
    sleepers = {b"sleep\0986\0", b"sleep\0987\0"}
    wait_until(lambda: sleepers <= {command_line(pid) for pid in linux.descendants(guard)})
    before = [guard, *linux.descendants(guard)]
    assert len(before) >= 4
    os.kill(guard, signal.SIGKILL)
    child.read_until("the web ended")
    wait_until(lambda: not any(linux.is_alive(pid) for pid in before))
    wait_until(lambda: can_connect(port))
    child.signal(signal.SIGTERM)
    assert child.end() == 0


def test_killed_keeper_is_replaced_while_services_run(
    state: Path, port: int, start: Callable[..., Child]
) -> None:
    child = supervisor(start, state, port, table(state, port))
    child.read_until("is ready at")
    keeper = next(
        pid for pid in linux.children(child.process.pid) if b"valkey" in command_line(pid)
    )
    os.kill(keeper, signal.SIGKILL)
    child.read_until("starting it again")
    wait_until(lambda: services.is_ready(state, "valkey"))
    child.signal(signal.SIGTERM)
    assert child.end() == 0


def test_service_that_cannot_start_ends_the_start_with_its_last_words(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    broken = ["broken", sys.executable, "-c", "print('the model file is missing'); exit(3)"]
    web = ["web", "sleep", "1000"]
    child = supervisor(start, state, port, [web, broken])
    assert child.end() == 1
    assert "(exit code 3): the model file is missing" in child.seen[-1]


def test_failed_setup_ends_the_start_with_its_last_words(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    setup = ["setup", sys.executable, "-c", "import sys; sys.exit('the migration is broken')"]
    child = supervisor(start, state, port, table(state, port, setup))
    assert child.end() == 1
    assert "(exit code 1): the migration is broken" in child.seen[-1]
    assert not (state / "log" / "web.log").exists()


def test_stop_during_setup_is_an_orderly_stop(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    setup = ["setup", "sh", "-c", "echo begun; exec sleep 1000"]
    child = supervisor(start, state, port, table(state, port, setup))
    log = state / "log" / "setup.log"
    wait_until(lambda: log.exists() and "begun" in log.read_text())
    child.signal(signal.SIGTERM)
    assert child.end() == 0


def test_service_that_ignores_the_stop_is_killed_within_the_time(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    both = [stubborn(state, name) for name in ("stubborn", "other")]
    child = supervisor(start, state, port, [*table(state, port), *both])
    child.read_until("is ready at")
    child.signal(signal.SIGTERM)
    assert child.end() == 0
    assert seconds_stopping(child) < 10
    assert any("did not stop in time" in line for line in child.seen)


def test_second_request_hurries_the_stop(
    state: Path, port: int, start: Callable[..., Child], no_servers: None
) -> None:
    child = supervisor(start, state, port, table(state, port, stubborn(state, "stubborn")))
    child.read_until("is ready at")
    child.signal(signal.SIGINT)
    child.read_until("stopping")
    # A second signal within the first second would count as the same request. That begins a moment
    # after the word.
    let_pass(2)
    began = time.monotonic()
    child.signal(signal.SIGINT)
    assert child.end() == 0
    # Without it this would take four.
    assert time.monotonic() - began < 3.5


def makefile(folder: Path, state: Path, port: int) -> Path:
    """Write a Makefile whose `run` starts a supervisor in the way of the real one."""
    arguments = [str(state), str(port), json.dumps(table(state, port)), '{"worker": 1}']
    program = folder / "supervise.py"
    program.write_text(
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "from bcweb.embedded import linux\n"
        "linux.die_with_parent(os.getppid(), signal.SIGTERM)\n" + SUPERVISOR
    )
    path = folder / "Makefile"
    path.write_text(f"run:\n\t@BCWEB_UNDER_MAKE=1 exec '{sys.executable}' '{program}'\n")
    return path


def test_ctrl_c_in_a_terminal_lets_make_end_without_an_error(
    state: Path, port: int, tmp_path: Path, no_servers: None
) -> None:
    path = makefile(tmp_path, state, port)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("make", ["make", "-f", str(path), "run"])
    try:
        read_terminal(terminal, "is ready at")
        os.write(terminal, b"\x03")
        read_terminal(terminal, "stopped in")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(terminal)
    assert (state / "ends").read_text() == "web\nworker\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_make_that_is_ended_stops_the_supervisor_in_order(
    state: Path, port: int, tmp_path: Path, no_servers: None, number: int
) -> None:
    path = makefile(tmp_path, state, port)
    make = subprocess.Popen(
        ["make", "-f", str(path), "run"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert make.stdout is not None
    with make.stdout as lines:
        assert any("is ready at" in line for line in lines)
        make.send_signal(number)
        # The pipe ends when the supervisor has ended, too.
        assert any("stopped in" in line for line in lines)
        assert not lines.read()
    assert make.wait() == -number
    assert (state / "ends").read_text() == "web\nworker\n"


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_guard_of(pid: int, mark: str) -> bool:
    return any(mark.encode() in command_line(below) for below in linux.descendants(pid))


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def let_pass(seconds: float) -> None:
    """Let real time pass: the supervisor's own clock is what is being tested."""
    deadline = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= deadline)


def read_terminal(terminal: int, mark: str) -> None:
    # A character may come in two pieces.
    text = b""
    while mark.encode() not in text:
        text += os.read(terminal, 4096)
