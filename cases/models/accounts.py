"""Attempts to sign in that did not succeed: what lock-out counts."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.vocabulary import LockKind


class SignInFailure(models.Model):
    """One failed attempt (or one that is under way), for one of the things it is counted by.

    ``key`` is a keyed hash of the user name, address or user id: what was typed as a user name
    may have been a password. Rows go when they no longer count.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=10)
    key = models.CharField(max_length=64)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [choice_check("kind", LockKind, name="signinfailure_kind_known")]
        indexes = [
            models.Index(fields=["key", "-at"], name="signinfailure_of_key"),
            models.Index(fields=["at"], name="signinfailure_at"),
        ]
