"""Counts of the moves of jobs that never go down, for `/metrics`."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import models
from django.db.models import Q


def hour_key(at: datetime) -> str:
    """The hour of a moment, as it stands in the counts: keys sort as the hours do."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H}"


class JobTally(models.Model):
    """The one row with everything counted so far: each move of a job up to ``last_event_id``, once.

    `services.tallies` adds to it; nobody counts a million rows when Prometheus asks.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last_event_id = models.BigIntegerField(default=0)
    # {"moves": {kind: {"FROM>TO": n}}, "waiting" and "running": {kind: {"buckets": […], "sum": s}},
    # "hours": {kind: {hour: {"SUCCEEDED": n, "FAILED": n}}} (of the last ones, by `hour_key`)}
    counts = models.JSONField(default=dict)
    # Since when nothing that was committed before is left out.
    complete_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="jobtally_one_row")]
