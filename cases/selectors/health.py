"""Is everything there: database, migrations, Redis, storage, workers."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count
from django.db.models.functions import Now
from redis.exceptions import RedisError

from cases.models import ServiceHeartbeat
from cases.storage import StorageUnavailable, uploads

log = structlog.get_logger(__name__)

# Three missed beats of 5 s: the process is taken for gone.
PULSE_LIFE = timedelta(seconds=16)

_migrations_seen_complete = False


def services_alive() -> dict[str, int]:
    """How many ready processes of each kind have shown a pulse lately."""
    rows = (
        ServiceHeartbeat.objects.filter(ready=True, seen_at__gt=Now() - PULSE_LIFE)
        .values("kind")
        .annotate(n=Count("name"))
    )
    return {row["kind"]: row["n"] for row in rows}


def _migrations_complete() -> bool:
    """Whether all migrations are applied. Asked of the disk until it is true once per process."""
    global _migrations_seen_complete
    if not _migrations_seen_complete:
        executor = MigrationExecutor(connection)
        _migrations_seen_complete = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrations_seen_complete


def readiness() -> tuple[list[dict[str, str]], dict[str, int]]:
    """(what is not well, live services). Nothing in the first list: the service is ready."""
    faults: list[dict[str, str]] = []
    alive: dict[str, int] = {}
    try:
        if not _migrations_complete():
            faults.append({"check": "migrations", "detail": "migrations are not applied"})
        else:
            alive = services_alive()
            if not alive.get("inference"):
                faults.append({"check": "inference", "detail": "no inference worker is ready"})
            uploads().ping()
    except DatabaseError as error:
        log.warning("readiness_database", error=type(error).__name__)
        faults.append({"check": "database", "detail": "the database does not answer"})
    except (StorageUnavailable, OSError) as error:
        log.warning("readiness_storage", error=type(error).__name__)
        faults.append({"check": "storage", "detail": "the storage does not answer"})
    try:
        cache.get("readyz")
    except (RedisError, OSError) as error:
        log.warning("readiness_redis", error=type(error).__name__)
        faults.append({"check": "redis", "detail": "Redis does not answer"})
    return faults, alive
