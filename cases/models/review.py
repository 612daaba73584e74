"""What became of a finding, and the corrections of a record: rows that are only ever added.

Reasons are free text and may speak of a patient: an erasure empties them, which is the one change
the database lets happen (migration 0005).
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.imaging import Case, Finding, Patient
from cases.models.people import Site, User
from cases.models.results import Result
from cases.vocabulary import OutcomeBasis, Pathology


class FindingOutcome(models.Model):
    """What a finding turned out to be, as known at a time. A later one supersedes it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="outcomes")
    finding = models.ForeignKey(Finding, on_delete=models.PROTECT, related_name="outcomes")
    pathology = models.CharField(max_length=12, choices=[(p.value, p.value) for p in Pathology])
    basis = models.CharField(max_length=12, choices=[(b.value, b.value) for b in OutcomeBasis])
    # Of the follow-up: first and last examination between which nothing changed.
    stable_from = models.DateField(null=True, blank=True)
    stable_until = models.DateField(null=True, blank=True)
    supersedes = models.OneToOneField(
        "self", on_delete=models.PROTECT, related_name="superseded_by", null=True, blank=True
    )
    # Why the earlier one no longer holds; "" for the first of a finding.
    reason = models.CharField(max_length=500, blank=True)
    recorded_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    recorded_by_label = models.CharField(max_length=160)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            choice_check("pathology", Pathology, name="outcome_pathology_known"),
            choice_check("basis", OutcomeBasis, name="outcome_basis_known"),
            # The service counts months; no 24 months have fewer days than this.
            models.CheckConstraint(
                condition=Q(basis=OutcomeBasis.FOLLOW_UP.value, pathology=Pathology.BENIGN.value)
                & Q(stable_from__isnull=False, stable_until__isnull=False)
                & Q(stable_until__gte=F("stable_from") + timedelta(days=730))
                | ~Q(basis=OutcomeBasis.FOLLOW_UP.value)
                & Q(stable_from__isnull=True, stable_until__isnull=True),
                name="outcome_follow_up_is_stable",
            ),
            models.UniqueConstraint(
                fields=["finding"],
                condition=Q(supersedes__isnull=True),
                name="outcome_one_first",
            ),
        ]
        indexes = [models.Index(fields=["finding", "-created_at"], name="outcome_of_finding")]


class ResultWithdrawal(models.Model):
    """An answer that must not be used. It stays visible, struck through; there is no way back."""

    result = models.OneToOneField(
        Result, on_delete=models.PROTECT, primary_key=True, related_name="withdrawal"
    )
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="withdrawals")
    reason = models.CharField(max_length=500, blank=True)
    withdrawn_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())


class PatientCorrection(models.Model):
    """A case that was filed under the wrong patient, and where it was moved."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="corrections")
    from_patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="+")
    to_patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500, blank=True)
    corrected_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(from_patient=F("to_patient")), name="correction_moves"
            )
        ]


class PatientErasure(models.Model):
    """The tombstone of a patient's data: what was deleted, in ids and numbers. Never changed."""

    patient = models.OneToOneField(
        Patient, on_delete=models.PROTECT, primary_key=True, related_name="erasure"
    )
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="erasures")
    # Written by an administrator, who sees no identity; it stays.
    reason = models.CharField(max_length=500)
    # {"cases": 1, "images": 3, …}, and {"cases": [ids], "images": [ids]}.
    counts = models.JSONField()
    ids = models.JSONField()
    erased_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())
