"""When an administrator looked at who a patient is: with a reason, and for a while."""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from cases.models.imaging import Case
from cases.models.people import User

# For no longer than this, says the database too.
LONGEST = timedelta(hours=1)


def session_mark(session: str) -> str:
    """What stands for a session in a row: with its key a reader of rows could take it over."""
    return hashlib.sha256(f"opening {session}".encode()).hexdigest()


class IdentityOpening(models.Model):
    """The identity of a case's patient, opened to one person in one session. Never changed.

    The reason is free text and may speak of the patient: an erasure empties it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Found by `opening_of_case`, which begins with it.
    case = models.ForeignKey(
        Case, on_delete=models.PROTECT, related_name="openings", db_index=False
    )
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    session = models.CharField(max_length=64)
    reason = models.CharField(max_length=500, blank=True)
    opened_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("opened_at"))
                & Q(expires_at__lte=F("opened_at") + LONGEST),
                name="opening_ends_soon",
            )
        ]
        indexes = [models.Index(fields=["case", "-opened_at"], name="opening_of_case")]


class IdentityClosing(models.Model):
    """That somebody closed it before its time was over."""

    opening = models.OneToOneField(
        IdentityOpening, on_delete=models.PROTECT, primary_key=True, related_name="closing"
    )
    at = models.DateTimeField(db_default=Now())
