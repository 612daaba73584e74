"""What Celery is told of the broker, and what beat asks for and how often."""

from __future__ import annotations

from typing import Any

BROKER_OPTIONS = {
    # Three priorities, each a list of its own on Redis; 0 goes first.
    "priority_steps": [0, 1, 2],
    "queue_order_strategy": "priority",
    "visibility_timeout": 3600,
    # A request that has stored its job must not hang on the doorbell.
    "socket_connect_timeout": 2,
    "socket_timeout": 4,
}
PUBLISH_RETRIES = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}


def beat_schedule(*, sweep_seconds: int) -> dict[str, dict[str, Any]]:
    """The entries for Celery; a message that was not read by its next turn is dropped."""
    return {
        "sweep": {
            "task": "worker.tasks.sweep",
            "schedule": float(sweep_seconds),
            "options": {"queue": "maintenance", "expire_seconds": 2 * sweep_seconds},
        },
        # What is due again, and what a lost ring was for.
        "deliver-webhooks": {
            "task": "worker.tasks.deliver_webhooks",
            "schedule": float(sweep_seconds),
            "options": {"queue": "webhooks", "expire_seconds": 2 * sweep_seconds},
        },
        "tidy-webhooks": {
            "task": "worker.tasks.tidy_webhooks",
            "schedule": 600.0,
            "options": {"queue": "webhooks", "expire_seconds": 600},
        },
        "tidy-sessions": {
            "task": "worker.tasks.tidy_sessions",
            "schedule": 3600.0,
            "options": {"queue": "maintenance", "expire_seconds": 3600},
        },
        "seal-audit": {
            "task": "worker.tasks.seal_audit",
            "schedule": 60.0,
            "options": {"queue": "maintenance", "expire_seconds": 60},
        },
        "tally-jobs": {
            "task": "worker.tasks.tally_jobs",
            "schedule": 30.0,
            "options": {"queue": "maintenance", "expire_seconds": 30},
        },
    }
