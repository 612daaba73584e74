"""Jobs, the trail of their moves, and the pulse of the processes that do them."""

from __future__ import annotations

import uuid

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.imaging import Image, Submission
from cases.models.learning import ModelVersion
from cases.models.people import Site
from cases.states import JOB, JobState
from cases.vocabulary import JobKind, PriorityRank

FINAL = sorted(state.value for state in JOB.final)
ACTIVE = sorted(state.value for state in JOB.active)


class Job(models.Model):
    """A piece of work. The row is the truth; the message on the queue only means "look"."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=[(k.value, k.value) for k in JobKind])
    state = models.CharField(
        max_length=16,
        choices=[(s.value, s.value) for s in JobState],
        default=JobState.PENDING.value,
    )
    # Found by `job_of_site`, which begins with it.
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="jobs", db_index=False)
    submission = models.ForeignKey(
        Submission, on_delete=models.PROTECT, related_name="jobs", null=True
    )
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="jobs", null=True)
    frame = models.PositiveIntegerField(null=True)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="jobs", null=True
    )
    rerun_of = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="reruns", null=True, blank=True
    )
    # The result that a replay computes again. Such a job names no image of its own: it is no
    # reading of one, and what a page says of an image does not follow it.
    replay_of = models.ForeignKey(
        "cases.Result",
        on_delete=models.PROTECT,
        related_name="replay_jobs",
        null=True,
        blank=True,
    )
    # The result that a model in shadow is to match: names no image of its own either.
    shadow_of = models.ForeignKey(
        "cases.Result",
        on_delete=models.PROTECT,
        related_name="shadow_jobs",
        null=True,
        blank=True,
    )
    # Of a training: the line of models it makes a new version of.
    model_line = models.CharField(max_length=40, null=True)
    priority = models.PositiveSmallIntegerField(
        choices=[(p.value, p.name.lower()) for p in PriorityRank],
        default=PriorityRank.ROUTINE.value,
    )
    # Order of the queue: creation time plus a grace by priority, so that urgent work overtakes
    # and routine work still comes up (docs/adr/0003).
    due_at = models.DateTimeField()
    # Not before: set into the future when a failed attempt backs off.
    available_at = models.DateTimeField(db_default=Now())
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    lease_expires_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=120, blank=True)
    progress = models.JSONField(null=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)
    # Of the request that asked for the job: follows it into the worker's log.
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            choice_check("state", JobState, name="job_state_known"),
            choice_check("kind", JobKind, name="job_kind_known"),
            models.CheckConstraint(
                condition=Q(state__in=FINAL, finished_at__isnull=False)
                | (~Q(state__in=FINAL) & Q(finished_at__isnull=True)),
                name="job_finished_at_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(state=JobState.RUNNING.value, lease_expires_at__isnull=False)
                | (~Q(state=JobState.RUNNING.value) & Q(lease_expires_at__isnull=True)),
                name="job_lease_exactly_when_running",
            ),
            models.CheckConstraint(
                condition=Q(attempt__lte=F("max_attempts")), name="job_attempts_bounded"
            ),
            models.CheckConstraint(
                condition=~Q(kind=JobKind.INFERENCE.value)
                | Q(image__isnull=False, frame__isnull=False, model_version__isnull=False),
                name="job_inference_names_its_image",
            ),
            models.CheckConstraint(
                condition=~Q(kind=JobKind.REPLAY.value)
                | Q(
                    replay_of__isnull=False,
                    model_version__isnull=False,
                    frame__isnull=False,
                    image__isnull=True,
                ),
                name="job_replay_names_its_result",
            ),
            models.CheckConstraint(
                condition=~Q(kind=JobKind.SHADOW.value)
                | Q(
                    shadow_of__isnull=False,
                    model_version__isnull=False,
                    frame__isnull=False,
                    image__isnull=True,
                ),
                name="job_shadow_names_its_result",
            ),
            models.UniqueConstraint(fields=["shadow_of", "model_version"], name="job_shadow_once"),
            models.CheckConstraint(
                condition=Q(kind=JobKind.TRAINING.value, model_line__isnull=False)
                | (~Q(kind=JobKind.TRAINING.value) & Q(model_line__isnull=True)),
                name="job_training_names_its_line",
            ),
            models.UniqueConstraint(
                fields=["model_line"],
                condition=Q(state=JobState.RUNNING.value),
                name="job_one_training_at_a_time",
            ),
            models.UniqueConstraint(
                fields=["replay_of"],
                condition=Q(state__in=ACTIVE),
                name="job_one_active_replay",
            ),
            models.UniqueConstraint(
                fields=["image", "frame", "model_version", "kind"],
                condition=Q(state__in=ACTIVE),
                name="job_one_active",
            ),
        ]
        indexes = [
            models.Index(
                fields=["kind", "due_at", "id"],
                condition=Q(state=JobState.PENDING.value),
                name="job_queue",
            ),
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(state=JobState.RUNNING.value),
                name="job_leases",
            ),
            models.Index(fields=["image", "-created_at"], name="job_of_image"),
            models.Index(
                fields=["site", "-finished_at", "-id"],
                condition=Q(kind=JobKind.INFERENCE.value, state=JobState.FAILED.value),
                name="job_failed",
            ),
            # Lists of a site, newest first; and of what is rare in them, without a long walk.
            models.Index(fields=["site", "-created_at", "-id"], name="job_of_site"),
            models.Index(
                fields=["site", "kind", "-created_at", "-id"],
                condition=~Q(kind=JobKind.INFERENCE.value),
                name="job_of_site_by_kind",
            ),
            models.Index(
                fields=["site", "state", "-created_at", "-id"],
                condition=Q(state__in=[JobState.FAILED.value, JobState.CANCELLED.value]),
                name="job_of_site_unanswered",
            ),
        ]


class JobEvent(models.Model):
    """One move of one job, written in the transaction of the move. Never changed."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="events")
    from_state = models.CharField(max_length=16, blank=True)
    to_state = models.CharField(max_length=16)
    attempt = models.PositiveSmallIntegerField()
    actor = models.CharField(max_length=160)
    reason = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["job", "id"], name="jobevent_of_job"),
            # Rows come in the order of their time, so this one costs next to nothing.
            BrinIndex(fields=["at"], name="jobevent_at", autosummarize=True),
        ]


class ServiceHeartbeat(models.Model):
    """The pulse of a worker, an engine or beat, in database time."""

    name = models.CharField(max_length=160, primary_key=True)
    kind = models.CharField(max_length=20)
    ready = models.BooleanField(default=False)
    details = models.JSONField(default=dict)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
