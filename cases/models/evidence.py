"""What people stated of a patient that lies outside the models' evidence: rows only ever added."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.imaging import Case
from cases.models.people import User
from cases.vocabulary import Circumstance


class CaseCircumstance(models.Model):
    """Somebody stated that a circumstance applies at this examination, or that it does not.

    The last row of a kind counts, by its number: a transaction that waited has an earlier time.
    What is health data stays here and out of the audit trail.
    """

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="circumstances")
    kind = models.CharField(max_length=12, choices=[(c.value, c.value) for c in Circumstance])
    applies = models.BooleanField()
    stated_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    stated_by_label = models.CharField(max_length=160)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [choice_check("kind", Circumstance, name="circumstance_kind_known")]
        indexes = [models.Index(fields=["case", "kind", "-id"], name="circumstance_of_case")]
