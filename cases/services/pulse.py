"""The pulse of workers, engines and beat: how the service knows that somebody is there."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now

from cases.models import ServiceHeartbeat


def pulse_beat(*, name: str, kind: str, ready: bool, details: dict[str, Any]) -> None:
    """Note that the process ``name`` lives, in database time."""
    ServiceHeartbeat.objects.update_or_create(
        name=name,
        defaults={"kind": kind, "ready": ready, "details": details, "seen_at": Now()},
        create_defaults={
            "kind": kind,
            "ready": ready,
            "details": details,
            "seen_at": Now(),
            "started_at": Now(),
        },
    )


def pulses_forget(*, host: str) -> None:
    """Drop the pulses of an earlier run on this machine: killed hard, it looks alive for 16 s."""
    ServiceHeartbeat.objects.filter(details__host=host).delete()


def pulse_stop(*, name: str) -> None:
    """Take the process out at its orderly end."""
    ServiceHeartbeat.objects.filter(name=name).delete()
