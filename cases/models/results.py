"""What the model answered, per image and frame, and which systems have read it."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.imaging import Image
from cases.models.jobs import Job
from cases.models.learning import ModelVersion
from cases.vocabulary import Label, Outcome


def _each_score(**lookup: Any) -> dict[str, Any]:
    """``lookup`` (its name and value) for each score of a result."""
    return {f"score_{label.value}__{name}": to for label in Label for name, to in lookup.items()}


class Result(models.Model):
    """The one result of a succeeded job, with everything needed to recompute it. Never changed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="result")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="results")
    frame = models.PositiveIntegerField()
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="results"
    )
    # The fence: the attempt that was allowed to finish.
    attempt = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=12, choices=[(o.value, o.value) for o in Outcome])
    reason = models.CharField(max_length=300, blank=True)
    # The reason in a word, for programs; "" where there is none.
    reason_code = models.CharField(max_length=40, blank=True, db_default="")
    label = models.CharField(max_length=12, blank=True, choices=[(v.value, v.value) for v in Label])
    # Calibrated model scores in 0..1 that sum to 1. Not probabilities of disease.
    score_benign = models.FloatField(null=True)
    score_malignant = models.FloatField(null=True)
    score_normal = models.FloatField(null=True)
    # Operating point of the model: malignant from this score on; sensitivity it was set for.
    threshold = models.FloatField()
    sensitivity = models.FloatField()
    # Logits were divided by this; null in results stored before it was kept.
    temperature = models.FloatField(null=True)
    # The largest score must reach this for an answer; null: the model never abstains.
    minimum_score = models.FloatField(null=True)
    # How the frame was put on the input square: its size, the part used (crop), what the square
    # covers, and how it was fitted; null in results stored before it was kept.
    transform = models.JSONField(null=True)
    # Of the frame's features from the model's training images, 1 in their mean square; null where
    # the model has no measure of it, and in results stored before it was kept.
    feature_distance = models.FloatField(null=True)
    # Class activation maps, float16, 3 x rows x columns in the order benign, malignant, normal.
    heatmap = models.BinaryField(null=True)
    heatmap_rows = models.PositiveSmallIntegerField(default=0)
    heatmap_columns = models.PositiveSmallIntegerField(default=0)
    # [x0, y0, x1, y1] in pixels of the displayed frame: the area the grid covers.
    heatmap_box = models.JSONField(null=True)
    engine = models.CharField(max_length=80)
    preprocessing = models.CharField(max_length=80)
    duration_ms = models.FloatField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            choice_check("outcome", Outcome, name="result_outcome_known"),
            models.CheckConstraint(
                condition=Q(outcome=Outcome.REFUSED.value, label="")
                | (~Q(outcome=Outcome.REFUSED.value) & Q(label__in=[v.value for v in Label])),
                name="result_label_unless_refused",
            ),
            models.CheckConstraint(
                # NULL in 0..1 is NULL, which passes a check: so it says NOT NULL as well.
                condition=Q(
                    outcome=Outcome.REFUSED.value, heatmap__isnull=True, **_each_score(isnull=True)
                )
                & ~Q(reason="")
                | ~Q(outcome=Outcome.REFUSED.value)
                & Q(**_each_score(isnull=False), **_each_score(range=(0, 1))),
                name="result_scores_unless_refused",
            ),
            models.CheckConstraint(
                condition=Q(feature_distance__isnull=True) | Q(feature_distance__gte=0),
                name="result_distance_not_below_zero",
            ),
        ]
        indexes = [
            models.Index(fields=["image", "-created_at"], name="result_of_image"),
            # Whom to recall: everything a version answered in a period.
            models.Index(fields=["model_version", "created_at", "id"], name="result_of_model"),
            # The first images of a version that drift is held against: none for many versions.
            models.Index(
                fields=["model_version", "created_at", "id"],
                condition=~Q(outcome=Outcome.REFUSED.value) & Q(feature_distance__isnull=False),
                name="result_with_distance",
            ),
        ]

    @property
    def probabilities(self) -> dict[str, float] | None:
        """Scores by class in the contract's order, or None where the image was refused."""
        if self.score_malignant is None:
            return None
        return {
            "benign": self.score_benign or 0.0,
            "malignant": self.score_malignant,
            "normal": self.score_normal or 0.0,
        }


class Replay(models.Model):
    """What a replay job found: whether a stored result comes out the same again. Never changed."""

    job = models.OneToOneField(Job, on_delete=models.PROTECT, primary_key=True)
    result = models.ForeignKey(Result, on_delete=models.PROTECT, related_name="replays")
    equal = models.BooleanField()
    # What differs: [{"what", "stored", "now", "tolerance"}], empty where equal.
    differences = models.JSONField(default=list)
    # Largest difference of a calibrated score that still counts as equal.
    tolerance = models.FloatField()
    engine = models.CharField(max_length=80)
    duration_ms = models.FloatField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(equal=True, differences=[]) | (Q(equal=False) & ~Q(differences=[])),
                name="replay_equal_exactly_without_differences",
            )
        ]
        indexes = [models.Index(fields=["result", "-created_at"], name="replay_of_result")]


class ResultRead(models.Model):
    """A reader's first read of a result: made once, so that polling leaves no trail."""

    result = models.ForeignKey(Result, on_delete=models.CASCADE, related_name="reads")
    # The token, or the person where no token was used.
    reader_id = models.UUIDField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["result", "reader_id"], name="resultread_once")
        ]
