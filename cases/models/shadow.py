"""What a model in shadow said: beside the results of record, never among them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.jobs import Job
from cases.models.learning import ModelVersion
from cases.models.results import Result
from cases.vocabulary import Label, Outcome


class ShadowResult(models.Model):
    """The silent answer of a SHADOW model to a job that the live model answered. Never changed."""

    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, primary_key=True, related_name="shadow_result"
    )
    # The result of record for the same image and frame.
    result = models.ForeignKey(Result, on_delete=models.PROTECT, related_name="shadow_results")
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="shadow_results"
    )
    outcome = models.CharField(max_length=12, choices=[(o.value, o.value) for o in Outcome])
    reason_code = models.CharField(max_length=40, blank=True)
    label = models.CharField(max_length=12, blank=True, choices=[(v.value, v.value) for v in Label])
    score_benign = models.FloatField(null=True)
    score_malignant = models.FloatField(null=True)
    score_normal = models.FloatField(null=True)
    threshold = models.FloatField()
    # Whether outcome and label are those of the result of record.
    agrees = models.BooleanField()
    engine = models.CharField(max_length=80)
    duration_ms = models.FloatField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            choice_check("outcome", Outcome, name="shadowresult_outcome_known"),
            models.CheckConstraint(
                condition=Q(outcome=Outcome.REFUSED.value, label="")
                | (~Q(outcome=Outcome.REFUSED.value) & Q(label__in=[v.value for v in Label])),
                name="shadowresult_label_unless_refused",
            ),
            models.UniqueConstraint(
                fields=["result", "model_version"], name="shadowresult_once_per_model"
            ),
        ]
        indexes = [
            models.Index(fields=["model_version", "-created_at"], name="shadowresult_of_model")
        ]
