"""Plans by which models are judged, declared before a training, and the uses of locked sets."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.people import Site, User
from cases.models.training import TrainingRun, TrainingSnapshot


class GatePlan(models.Model):
    """A predetermined change control plan. Written once, never changed: another one is new."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=80)
    # Pictures nobody trains on, from then on and for ever.
    locked_set = models.ForeignKey(
        TrainingSnapshot, on_delete=models.PROTECT, related_name="gate_plans"
    )
    # {"locked_set", "limits", "minimum_malignant_patients", "rounds", "seed", "approvers"}
    document = models.JSONField()
    # Of the document's canonical JSON, by the rule of `ml.limits.plan_sha256`.
    sha256 = models.CharField(max_length=64)
    # Patients (or groups of alike pictures) of the locked set with a malignant picture.
    malignant_patients = models.PositiveIntegerField()
    created_by = models.CharField(max_length=160)
    created_by_user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["site", "name"], name="gateplan_name_once"),
            models.CheckConstraint(condition=~Q(name=""), name="gateplan_has_a_name"),
            models.CheckConstraint(
                condition=Q(sha256__regex="^[0-9a-f]{64}$"), name="gateplan_named_by_its_hash"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class LockedSetUse(models.Model):
    """A model was judged on a locked set: with each use the set tells less. Append-only."""

    snapshot = models.ForeignKey(TrainingSnapshot, on_delete=models.PROTECT, related_name="uses")
    plan = models.ForeignKey(GatePlan, on_delete=models.PROTECT, related_name="uses")
    run = models.OneToOneField(TrainingRun, on_delete=models.PROTECT, related_name="locked_use")
    # What the report says beside its limits: verdict, how many pictures and patients, which models.
    facts = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
