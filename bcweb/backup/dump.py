"""The state of one moment: a snapshot of the database that pg_dump and the counts share."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.conninfo import make_conninfo

from bcweb.embedded import paths
from bcweb.embedded.errors import StartupError

from .archive import BackupError

# Parameters of Django's that are psycopg's, not libpq's.
_NOT_LIBPQ = ("cursor_factory", "context", "prepare_threshold", "autocommit", "row_factory")


@dataclass(frozen=True)
class Moment:
    """What the database holds at one moment, while the transaction that sees it is open."""

    snapshot: str
    server: int
    rows: dict[str, int]
    migrations: dict[str, list[str]]
    # Ids of the snapshots of accepted images: their pictures are folders of that name.
    frozen: frozenset[str]


@contextmanager
def moment(parameters: Mapping[str, Any]) -> Iterator[Moment]:
    """Hold a moment of the database: everything that looks by its snapshot sees the same rows."""
    with psycopg.connect(**_libpq(parameters)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        migrations: dict[str, list[str]] = {}
        for app, name in connection.execute(
            "SELECT app, name FROM django_migrations ORDER BY app, name"
        ):
            migrations.setdefault(app, []).append(name)
        rows = {name: _count(connection, name) for (name,) in names.fetchall()}
        found = connection.execute("SELECT id FROM cases_trainingsnapshot WHERE role <> ''")
        frozen = frozenset(name for (name,) in found)
        yield Moment(row[0], connection.info.server_version // 10_000, rows, migrations, frozen)


def _count(connection: psycopg.Connection[Any], table: str) -> int:
    query = psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(table))
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def pg_dump_program(server: int) -> tuple[Path, int]:
    """(program, its major version): the oldest here that this server does not outdate.

    The server's own knows what its version keeps to itself; a later one may write it into the dump,
    and no restore takes it. Raises ``BackupError`` where none is new enough.
    """
    programs = []
    with suppress(StartupError):
        programs += [folder / "pg_dump" for folder in paths.postgres_folders()]
    if found := shutil.which("pg_dump"):
        programs.append(Path(found))
    fit = [(version, program) for program in programs if (version := _version(program)) >= server]
    if not fit:
        raise BackupError(
            f"There is no pg_dump of version {server} or later, which the server needs: name the "
            "folder of one with BCWEB_POSTGRES_BIN."
        )
    version, program = min(fit, key=lambda one: one[0])
    return program, version


def _version(program: Path) -> int:
    try:
        said = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return 0
    # Debian's adds the version of its package: "pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)".
    number = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(number[1]) if number else 0


@contextmanager
def dumped(program: Path, parameters: Mapping[str, Any], snapshot: str) -> Iterator[IO[bytes]]:
    """The dump of that snapshot, as a stream. Raises ``BackupError`` where it is not whole."""
    told = _libpq(parameters)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    # Not on the command line, where every user of the machine could read it.
    if password := told.pop("password", None):
        environment["PGPASSWORD"] = str(password)
    command = [str(program), "--format=custom", f"--snapshot={snapshot}"]
    with subprocess.Popen(
        [*command, f"--dbname={make_conninfo(**told)}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, "LC_ALL": "C"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise BackupError(f"pg_dump failed: {said.splitlines()[-1] if said else 'no message'}")


def _libpq(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in parameters.items() if k not in _NOT_LIBPQ and v not in (None, "")}
