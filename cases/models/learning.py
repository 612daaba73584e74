"""Model versions and the trail of their moves."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.states import ModelState


class ModelVersion(models.Model):
    """One trained network: its bytes (in storage), its card, and where it is in its life."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.CharField(max_length=80, unique=True)
    # Of the safetensors file: workers fetch and verify a model by it.
    sha256 = models.CharField(max_length=64, unique=True)
    size = models.PositiveBigIntegerField()
    storage_name = models.CharField(max_length=128)
    card = models.JSONField()
    state = models.CharField(
        max_length=16,
        choices=[(s.value, s.value) for s in ModelState],
        default=ModelState.CANDIDATE.value,
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            choice_check("state", ModelState, name="modelversion_state_known"),
            models.UniqueConstraint(
                fields=["state"],
                condition=models.Q(state=ModelState.ACTIVE.value),
                name="modelversion_one_active",
            ),
            models.UniqueConstraint(
                fields=["state"],
                condition=models.Q(state=ModelState.SHADOW.value),
                name="modelversion_one_shadow",
            ),
        ]

    def __str__(self) -> str:
        return self.version


class ModelEvent(models.Model):
    """One move of one model version: answers "which model was live at time T"."""

    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="events")
    from_state = models.CharField(max_length=16, blank=True)
    to_state = models.CharField(max_length=16)
    actor = models.CharField(max_length=160)
    reason = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
