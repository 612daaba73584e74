"""Seals of the audit trail: a chain of hashes over runs of events. Append-only by trigger."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Func, Q, Value


class AuditSeal(models.Model):
    """One seal: the events with ids above ``after_id`` up to ``last_id``, and the seal before it.

    ``entries`` holds 40 bytes for each event, its id and the SHA-256 of its content
    (`cases.sealing`), so that a check names the event and not only the run.
    """

    number = models.PositiveBigIntegerField(primary_key=True)
    algorithm = models.CharField(max_length=20)
    after_id = models.BigIntegerField()
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField(unique=True)
    count = models.PositiveIntegerField()
    entries = models.BinaryField()
    # Hash of the seal before; empty for the first. Unique: a chain has no branches.
    previous = models.CharField(max_length=64, blank=True, unique=True)
    hash = models.CharField(max_length=64, unique=True)
    # Up to which id nobody could add an event any more, and since when that is known.
    horizon_id = models.BigIntegerField()
    horizon_at = models.DateTimeField()
    sealed_at = models.DateTimeField()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.CheckConstraint(
                condition=Q(number=1, previous="") | (Q(number__gt=1) & ~Q(previous="")),
                name="auditseal_only_the_first_follows_none",
            ),
            models.CheckConstraint(
                condition=Q(
                    after_id__lt=F("first_id"),
                    first_id__lte=F("last_id"),
                    last_id__lte=F("horizon_id"),
                ),
                name="auditseal_is_a_run_of_ids",
            ),
            models.CheckConstraint(
                condition=Q(count__gte=1)
                & Q(
                    count=Func(
                        F("entries"),
                        function="octet_length",
                        output_field=models.IntegerField(),
                    )
                    / Value(40)
                ),
                name="auditseal_lists_each_event",
            ),
        ]
