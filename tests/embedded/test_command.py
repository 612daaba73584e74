"""manage.py: embedded servers for the length of one command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bcweb.embedded import command, database_url, redis_url, services
from tests.embedded.conftest import ROOT, Child, processes_of, wait_until

# Asks again and again: a read that blocks for good would not see a signal from just before it. In
# the background of a shell SIGINT is ignored, which children inherit.
COMMAND = """
import os, select, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from bcweb.embedded.command import services_for
with services_for(["some_command"]):
    print(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], flush=True)
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        pass
"""


@pytest.mark.parametrize(
    "line",
    [
        "",
        "help",
        "help migrate",
        "migrate --help",
        "migrate -h",
        "--version",
        "version",
        "check",
        "check --deploy",
        "collectstatic --noinput",
        "spectacular",
        "makemigrations --check",
        "makemigrations cases --dry-run",
    ],
)
def test_commands_on_code_and_files_start_no_server(line: str) -> None:
    assert not command.needs_services(line.split())


@pytest.mark.parametrize(
    "line", ["migrate", "makemigrations", "check --database default", "setup_service", "shell"]
)
def test_other_commands_get_servers(line: str) -> None:
    assert command.needs_services(line.split())


def test_only_what_no_url_names_is_embedded() -> None:
    assert command.missing_kinds({}) == ["postgres", "valkey"]
    assert command.missing_kinds({"DATABASE_URL": "postgresql://db/bcweb"}) == ["valkey"]
    assert command.missing_kinds({"REDIS_URL": "redis://queue"}) == ["postgres"]
    assert not command.missing_kinds({"DATABASE_URL": "x", "REDIS_URL": "y"})


def test_urls_in_the_environment_are_left_alone(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCWEB_STATE", str(state))
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/bcweb")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    with command.services_for(["migrate"]):
        assert os.environ["DATABASE_URL"] == "postgresql://elsewhere/bcweb"
        assert not processes_of(state)


def test_two_commands_at_once_share_servers_which_end_with_the_second(
    state: Path, start: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCWEB_STATE", str(state))
    commands = [start(COMMAND), start(COMMAND)]
    for one in commands:
        line = one.read_until("postgresql://")
        assert line.split() == [database_url(state), redis_url(state)]
    for one in commands:
        assert services.is_ready(state, "postgres")
        assert services.is_ready(state, "valkey")
        assert one.process.stdin is not None
        one.process.stdin.write("\n")
        one.process.stdin.flush()
        assert one.end() == 0
    wait_until(lambda: not processes_of(state))


def test_command_interrupted_while_it_works_leaves_no_server(
    state: Path, start: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCWEB_STATE", str(state))
    one = start(COMMAND)
    one.read_until("postgresql://")
    one.signal(signal.SIGINT)
    one.end()
    wait_until(lambda: not processes_of(state))


def test_manage_without_packages_says_so_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-E", "manage.py", "migrate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "run `make run` once" in done.stderr


def test_manage_with_an_unusable_state_folder_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    environment = {**os.environ, "BCWEB_STATE": str(tmp_path / "file" / "state")}
    for name in ("DATABASE_URL", "REDIS_URL"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
