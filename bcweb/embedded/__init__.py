"""Postgres and Valkey from wheels, and the supervisor behind `make run`.

Standard library only; importable without Django, and importing it starts nothing. For settings:
`database_url(state)` and `redis_url(state)` give the URLs to use where DATABASE_URL / REDIS_URL
are unset, `cache_url(url)` the form of a Redis URL that Django's cache wants. For tests:

    with ephemeral(folder) as (database_url, redis_url):
        ...  # a real Postgres and a real Valkey, stopped afterwards

docs/operations.md describes the state folder and the processes.
"""

from .errors import StartupError
from .paths import cache_url, database_url, redis_url, state_dir
from .services import Urls, ephemeral

__all__ = [
    "StartupError",
    "Urls",
    "cache_url",
    "database_url",
    "ephemeral",
    "redis_url",
    "state_dir",
]
