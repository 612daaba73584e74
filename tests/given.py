"""Services that somebody gave: a PostgreSQL of 15 or later and a Redis of 7, as in production.

    make test-services            says what is missing, or runs the flows against them

`TEST_DATABASE_URL` is of an administrator, `TEST_REDIS_URL` of a Redis that is the tests' alone.
Every database of the tests is made by `deploy/postgres-roles.sh`: one role owns the tables and
migrates, another, which may not change the audit trail, is what the service and the tests work as.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg

from bcweb.embedded import paths

ROOT = Path(__file__).resolve().parent.parent
DATABASE, REDIS = "TEST_DATABASE_URL", "TEST_REDIS_URL"
# Set while the tests' own database is there: its administrator's URL.
ADMIN = "BCWEB_TEST_ADMIN_URL"
OWNER, APP = "bcweb_owner", "bcweb_app"
# The tests' own processes use the number in the URL, each whole service the next ones.
_LIVE_REDIS = 8


@dataclass(frozen=True)
class Database:
    """One database of the given server, as its owner, as the application, as administrator."""

    name: str
    owner_url: str
    app_url: str
    admin_url: str


def is_given() -> bool:
    return bool(os.environ.get(DATABASE))


def as_role(url: str, name: str, role: str, password: str) -> str:
    host = urlsplit(url).netloc.rpartition("@")[2]
    return (
        urlsplit(url)
        ._replace(netloc=f"{role}:{quote(password, safe='')}@{host}", path=f"/{name}")
        .geturl()
    )


@contextmanager
def database(prefix: str) -> Iterator[Database]:
    """An empty database with the two roles of production; all gone at the end of the block."""
    admin = os.environ[DATABASE]
    mark = secrets.token_hex(4)
    name, owner, app = f"{prefix}_{mark}", f"{OWNER}_{mark}", f"{APP}_{mark}"
    passwords = {"OWNER": f"{mark}'s o/wner", "APP": f"{mark} app@%"}
    admin_here = urlsplit(admin)._replace(path=f"/{name}").geturl()
    try:
        _make(admin, name, {"OWNER": owner, "APP": app}, passwords)
        yield Database(
            name=name,
            owner_url=as_role(admin, name, owner, passwords["OWNER"]),
            app_url=as_role(admin, name, app, passwords["APP"]),
            admin_url=admin_here,
        )
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            for role in (app, owner):
                connection.execute(f'DROP ROLE IF EXISTS "{role}"')


def _make(admin: str, name: str, roles: dict[str, str], passwords: dict[str, str]) -> None:
    """Run the script of production on the given server."""
    told = psycopg.conninfo.conninfo_to_dict(admin)
    names = {"host": "PGHOST", "port": "PGPORT", "password": "PGPASSWORD", "user": "POSTGRES_USER"}
    with tempfile.TemporaryDirectory() as folder:
        environment = {names[k]: str(v) for k, v in told.items() if k in names and v}
        for kind, password in passwords.items():
            file = Path(folder) / kind
            file.write_text(password)
            environment |= {f"{kind}_PASSWORD_FILE": str(file), f"BCWEB_{kind}_ROLE": roles[kind]}
        subprocess.run(
            [str(ROOT / "deploy" / "postgres-roles.sh")],
            env={"PATH": _path_of_psql(), "BCWEB_DATABASE": name, **environment},
            check=True,
        )


def _path_of_psql() -> str:
    return f"{os.environ['PATH']}{os.pathsep}{paths.postgres_bin()}"


def set_up(made: Database, environment: dict[str, str]) -> None:
    """`manage.py setup_service` as the owner, which migrates, in a process of its own."""
    subprocess.run(
        [sys.executable, "manage.py", "setup_service"],
        cwd=ROOT,
        env={**environment, "DATABASE_URL": made.owner_url},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def redis_url(number: int = 0) -> str:
    """The given Redis; ``number`` counts the databases for whole services."""
    url = os.environ[REDIS]
    return urlsplit(url)._replace(path=f"/{_LIVE_REDIS + number}").geturl() if number else url
