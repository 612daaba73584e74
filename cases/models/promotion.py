"""Who asked for a model and who decided, what its gate said, and when answers were suspended."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.learning import ModelVersion
from cases.models.people import User
from cases.states import ModelState
from cases.vocabulary import Decision, GateState, ModelFaultCode, ServingChange

TARGETS = (ModelState.SHADOW.value, ModelState.ACTIVE.value)
BY_A_SECOND_PERSON = (Decision.APPROVED.value, Decision.DECLINED.value)


class GateVerdict(models.Model):
    """What the gate of a model's plan said, limit by limit. Written once, never changed."""

    model_version = models.OneToOneField(
        ModelVersion, on_delete=models.PROTECT, primary_key=True, related_name="gate"
    )
    state = models.CharField(max_length=24, choices=[(s.value, s.value) for s in GateState])
    # [{"name", "state", …}] as the gate wrote them.
    limits = models.JSONField(default=list)
    # Of the plan that was frozen before the run.
    plan_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            choice_check("state", GateState, name="gateverdict_state_known"),
            models.CheckConstraint(
                condition=Q(plan_sha256__regex="^[0-9a-f]{64}$"), name="gateverdict_names_its_plan"
            ),
        ]


class PromotionRequest(models.Model):
    """One person asks that a model becomes SHADOW or ACTIVE; another one decides, once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="promotion_requests"
    )
    target = models.CharField(max_length=16, choices=[(t, t) for t in TARGETS])
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)
    created_at = models.DateTimeField(db_default=Now())
    # "" while nobody has decided.
    decision = models.CharField(
        max_length=12, blank=True, default="", choices=[(d.value, d.value) for d in Decision]
    )
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    decision_reason = models.CharField(max_length=500, blank=True)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(target__in=TARGETS), name="promotion_target_known"),
            models.CheckConstraint(condition=~Q(reason=""), name="promotion_has_a_reason"),
            models.CheckConstraint(
                condition=Q(
                    decision="",
                    decided_by__isnull=True,
                    decided_at__isnull=True,
                    decision_reason="",
                )
                | Q(
                    decision__in=[d.value for d in Decision],
                    decided_by__isnull=False,
                    decided_at__isnull=False,
                )
                & ~Q(decision_reason=""),
                name="promotion_decided_whole",
            ),
            # Two people: the one who asked never decides.
            models.CheckConstraint(
                condition=~Q(decision__in=BY_A_SECOND_PERSON) | ~Q(decided_by=F("requested_by")),
                name="promotion_by_a_second_person",
            ),
            models.UniqueConstraint(
                fields=["model_version"],
                condition=Q(decision=""),
                name="promotion_one_open_per_model",
            ),
        ]


class ModelFault(models.Model):
    """A model file that was refused: by a worker at load, or by the check before a promotion."""

    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="faults")
    code = models.CharField(max_length=24, choices=[(c.value, c.value) for c in ModelFaultCode])
    actor = models.CharField(max_length=160)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [choice_check("code", ModelFaultCode, name="modelfault_code_known")]


class ServingEvent(models.Model):
    """Answers were suspended or resumed. The last event is how it stands now."""

    change = models.CharField(max_length=12, choices=[(c.value, c.value) for c in ServingChange])
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=160)
    user_id = models.UUIDField(null=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            choice_check("change", ServingChange, name="servingevent_change_known"),
            models.CheckConstraint(condition=~Q(reason=""), name="servingevent_has_a_reason"),
        ]
