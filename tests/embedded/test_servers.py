"""Embedded Postgres and Valkey: real servers, in a folder with a space in its path."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from bcweb.embedded import (
    StartupError,
    cache_url,
    database_url,
    ephemeral,
    linux,
    paths,
    redis_url,
    services,
)
from bcweb.embedded.server import Kind
from tests.embedded.conftest import (
    Child,
    process_of_service,
    processes_of,
    wait_until,
)

DATABASE: tuple[Kind, ...] = ("postgres",)

USER = """
import sys
from pathlib import Path
from bcweb.embedded import services
with services.use(Path(sys.argv[1]), ("postgres", "valkey")):
    print("ready", flush=True)
    sys.stdin.readline()
print("left", flush=True)
"""


def count_rows(state: Path) -> int:
    with psycopg.connect(database_url(state)) as connection:
        row = connection.execute("select count(*) from kept").fetchone()
    assert row is not None
    return int(row[0])


def add_row(state: Path) -> None:
    with psycopg.connect(database_url(state)) as connection:
        connection.execute("create table if not exists kept (at timestamptz default now())")
        connection.execute("insert into kept default values")


def test_ephemeral_gives_a_real_postgres_and_a_real_valkey(state: Path) -> None:
    with ephemeral(state) as (url, queue):
        assert (url, queue) == (database_url(state), redis_url(state))
        with psycopg.connect(url) as connection:
            row = connection.execute("show server_encoding").fetchone()
            assert row == ("UTF8",)
            connection.execute("create extension pg_trgm")
        assert redis.from_url(cache_url(queue)).ping()
    assert not processes_of(state)
    assert not paths.run_folder(state).exists()


def test_data_survives_a_stop_and_a_start(state: Path) -> None:
    for expected in (1, 2):
        with services.use(state, ("postgres", "valkey")):
            add_row(state)
            assert count_rows(state) == expected
            client = redis.from_url(cache_url(redis_url(state)))
            assert client.incr("kept") == expected
            client.close()


def test_data_is_written_durably_except_for_tests(state: Path) -> None:
    with services.use(state, ("postgres", "valkey")):
        with psycopg.connect(database_url(state)) as connection:
            for name in ("fsync", "full_page_writes", "synchronous_commit"):
                assert connection.execute(f"show {name}").fetchone() == ("on",)
        client = redis.from_url(cache_url(redis_url(state)))
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.close()


@pytest.mark.parametrize("kind", ["postgres", "valkey"])
def test_server_killed_in_the_middle_comes_back_with_its_data(state: Path, kind: Kind) -> None:
    with services.use(state, ("postgres", "valkey")):
        add_row(state)
        killed = process_of_service(state, kind)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not linux.is_alive(killed))
        wait_until(lambda: services.is_ready(state, kind))
        assert count_rows(state) == 1


def test_killed_keeper_takes_its_server_along_and_can_be_replaced(state: Path) -> None:
    users = services.Users(state, DATABASE)
    users.open()
    try:
        add_row(state)
        server = process_of_service(state, "postgres")
        keeper = keeper_of(server)
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: not linux.is_alive(server))
        assert not services.keeper_lives(state, "postgres")
        users.ensure()
        assert count_rows(state) == 1
    finally:
        users.close()


def test_server_runs_until_its_last_user_has_gone(state: Path, start: Callable[..., Child]) -> None:
    first = start(USER, str(state))
    first.read_until("ready")
    second = start(USER, str(state))
    second.read_until("ready")
    server = process_of_service(state, "postgres")
    # The one who started the servers leaves first.
    assert first.process.stdin is not None
    first.process.stdin.write("\n")
    first.process.stdin.flush()
    first.read_until("left")
    assert linux.is_alive(server)
    add_row(state)
    # The other one is killed: nobody can say goodbye, and still nothing stays behind.
    second.signal(signal.SIGKILL)
    wait_until(lambda: not processes_of(state))
    with services.use(state, DATABASE):
        assert count_rows(state) == 1
    # It was a clean shutdown, not a crash.
    log = (state / "log" / "postgres.log").read_text()
    assert "database system was not properly shut down" not in log


def test_users_that_start_at_the_same_moment_share_one_server(
    state: Path, start: Callable[..., Child]
) -> None:
    users = [start(USER, str(state)) for _ in range(4)]
    for user in users:
        user.read_until("ready")
    keepers = [pid for pid in processes_of(state) if b"keeper" in read_line(pid)]
    assert len(keepers) == 2
    for user in users:
        assert user.process.stdin is not None
        user.process.stdin.write("\n")
        user.process.stdin.flush()
    for user in users:
        assert user.end() == 0
    wait_until(lambda: not processes_of(state))


def test_interrupted_initdb_leaves_nothing_half_made(state: Path) -> None:
    draft = state / "postgres.draft"
    draft.mkdir()
    (draft / "PG_VERSION").write_text("18\n")
    with services.use(state, DATABASE):
        add_row(state)
    assert not draft.exists()


def test_data_of_another_postgres_version_is_one_sentence(state: Path) -> None:
    (state / "postgres").mkdir(mode=0o700)
    (state / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(StartupError, match="was made by Postgres 12"):
        services.Users(state, DATABASE).open()


def test_disk_without_room_stops_before_initdb(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCWEB_MIN_FREE_MB", str(10**12))
    with pytest.raises(StartupError, match="free some space"):
        services.Users(state, ("postgres", "valkey")).open()
    assert not (state / "postgres").exists()


def test_postgres_log_names_no_values(state: Path) -> None:
    with (
        services.use(state, DATABASE),
        psycopg.connect(database_url(state), autocommit=True) as connection,
    ):
        connection.execute("create table patient (name text unique)")
        connection.execute("insert into patient values ('Doe^Jane')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("insert into patient values ('Doe^Jane')")
    log = (state / "log" / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "Jane" not in log


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no help to run Postgres")
def test_root_runs_postgres_as_nobody_where_namespaces_are_blocked(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = state / "a home" / "closed"
    home.mkdir(parents=True, mode=0o700)
    for who, owner in (("nobody", 65534), ("namespace", 0), ("nobody", 65534)):
        monkeypatch.setenv("BCWEB_POSTGRES_AS", who)
        inner = paths.make_state_dir(home / "state")
        with services.use(inner, DATABASE):
            add_row(inner)
            pid = process_of_service(inner, "postgres")
            assert Path(f"/proc/{pid}").stat().st_uid == owner
            killed_with_parent(pid)
    with services.use(inner, DATABASE):
        assert count_rows(inner) == 3
    assert not paths.run_folder(inner).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused by Postgres")
def test_root_without_namespaces_and_setpriv_is_told_what_to_do(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcweb.embedded import postgres

    monkeypatch.setattr(postgres, "_works", lambda prefix, steps: False)
    with pytest.raises(StartupError, match="run as an ordinary user, or set DATABASE_URL"):
        postgres.Postgres(state)


@pytest.mark.skipif(not paths._system_postgres(), reason="this machine has no Postgres of its own")
def test_postgres_of_the_system_serves_as_well(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paths._system_postgres()[0]
    if paths.postgres_version(folder) < paths.OLDEST_POSTGRES:
        pytest.skip(f"{folder} is too old")
    monkeypatch.setenv("BCWEB_POSTGRES_BIN", str(folder))
    with services.use(state, DATABASE):
        add_row(state)
        with psycopg.connect(database_url(state)) as connection:
            assert connection.info.server_version // 10000 == paths.postgres_version(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_ordinary_user_runs_the_servers(
    state: Path, start: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uid 4711 (without an entry in the password file), with programs it may read."""
    program = """
import os, sys
os.setgroups([]); os.setresgid(4711, 4711, 4711); os.setresuid(4711, 4711, 4711)
from bcweb.embedded import ephemeral
with ephemeral(sys.argv[1]) as (url, queue):
    print(url, queue, flush=True)
"""
    python = next((path for path in (sys.executable, "/usr/bin/python3") if _is_open(path)), None)
    programs = (paths.postgres_bin() / "postgres", paths.valkey_server())
    if python is None or not all(_is_open(str(program)) for program in programs):
        pytest.skip("Python or a server program is closed to other users here")
    monkeypatch.setenv("PYTHONPATH", str(Path(psycopg.__file__).parents[1]))
    home = Path("/tmp") / f"bcweb test {os.getpid()}"
    home.mkdir(mode=0o700)
    try:
        os.chown(home, 4711, 4711)
        child = start(program, str(home / "state"), python=python)
        line = child.read_until("postgresql://")
        assert "bcweb-4711-" in line
        assert child.end() == 0
    finally:
        shutil.rmtree(home)


def _is_open(program: str) -> bool:
    """Tell whether a user without any rights of their own may run the program."""
    found = Path(program).resolve()
    return found.exists() and all(
        p.stat().st_mode & 0o005 == 0o005 for p in (found, *found.parents)
    )


def keeper_of(server: int) -> int:
    return next(pid for pid in services.keeper_ids() if server in linux.children(pid))


def killed_with_parent(pid: int) -> None:
    """Check that the kernel was asked to kill the process when its parent dies."""
    os.kill(keeper_of(pid), signal.SIGKILL)
    wait_until(lambda: not linux.is_alive(pid))


def read_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
