"""When a site began and ceased to read first."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.people import Site, User


class ReaderFirstEvent(models.Model):
    """A site was told to read first, or not to any more. The last event is how it stands now.

    Never changed (migration 0020).
    """

    site = models.ForeignKey(
        Site, on_delete=models.PROTECT, related_name="reader_first_events", db_index=False
    )
    on = models.BooleanField()
    reason = models.CharField(max_length=500)
    changed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="readerfirst_has_a_reason")
        ]
        indexes = [models.Index(fields=["site", "-id"], name="readerfirst_of_site")]
