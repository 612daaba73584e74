"""The audit trail: who did what to which object, when. Append-only by a database trigger."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now


class AuditEvent(models.Model):
    """One event, written in the transaction of the change it tells of.

    Holds ids and names of changed fields, never identity values. No foreign keys: the trail
    outlives what it speaks of.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    actor_kind = models.CharField(max_length=12)
    actor_label = models.CharField(max_length=160)
    user_id = models.UUIDField(null=True)
    token_id = models.UUIDField(null=True)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=30)
    object_id = models.CharField(max_length=64, blank=True)
    site_id = models.UUIDField(null=True)
    case_id = models.UUIDField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    changed_fields = ArrayField(models.CharField(max_length=60), default=list)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["case_id", "-id"], name="audit_of_case"),
            models.Index(fields=["site_id", "-id"], name="audit_of_site"),
            models.Index(fields=["object_id"], name="audit_of_object"),
            models.Index(fields=["action", "-id"], name="audit_of_action"),
            # Each event is in one of the two: a person's, with those of their tokens, or a
            # machine's.
            models.Index(
                fields=["user_id", "-id"],
                condition=models.Q(user_id__isnull=False),
                name="audit_of_user",
            ),
            models.Index(
                fields=["actor_label", "-id"],
                condition=models.Q(user_id__isnull=True),
                name="audit_of_machine",
            ),
            # Rows come in the order of their time: a few bytes per hundred pages.
            BrinIndex(fields=["at"], pages_per_range=32, autosummarize=True, name="audit_at"),
        ]
