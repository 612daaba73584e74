"""What manage.py does before and after Django: embedded servers for the length of one command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bcweb import secret_files

from . import paths, services
from .server import Kind

# Commands that work on code and files alone.
_WITHOUT_SERVICES = frozenset(
    {
        "check",
        "collectstatic",
        "compilemessages",
        "diffsettings",
        "findstatic",
        "help",
        "makemessages",
        "restore",
        "spectacular",
        "startapp",
        "startproject",
        "version",
    }
)
_ONLY_ASKING = ("--help", "-h", "--version")


def needs_services(arguments: Sequence[str]) -> bool:
    """Tell whether a manage.py command line (without the program) needs database or queue."""
    if not arguments or any(word in _ONLY_ASKING for word in arguments):
        return False
    command = arguments[0]
    if command == "check":
        return any(word.startswith("--database") for word in arguments)
    if command == "makemigrations":
        # Comparing models with migration files needs no database; Django only warns without one.
        return not {"--check", "--dry-run"}.intersection(arguments)
    return command not in _WITHOUT_SERVICES


def missing_kinds(environment: Mapping[str, str]) -> list[Kind]:
    """Return the servers that no URL names, so the embedded ones are to be used."""
    names: dict[str, Kind] = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey"}
    return [kind for name, kind in names.items() if not secret_files.is_told(environment, name)]


@contextmanager
def services_for(arguments: Sequence[str]) -> Iterator[None]:
    """Run the embedded servers that a manage.py command line needs, within the block.

    They are those of the state folder (env BCWEB_STATE): running ones are used (a `make run`, or
    another command), others are started and stopped afterwards. Child processes find the URLs in
    the environment. Raises StartupError.
    """
    kinds = missing_kinds(os.environ) if needs_services(arguments) else []
    if not kinds:
        yield
        return
    state = paths.make_state_dir()
    with services.use(state, kinds):
        urls = {"postgres": ("DATABASE_URL", paths.database_url(state))}
        urls["valkey"] = ("REDIS_URL", paths.redis_url(state))
        os.environ.update(dict(urls[kind] for kind in kinds))
        yield
