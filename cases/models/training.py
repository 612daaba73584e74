"""What models are trained from, and the trainings themselves."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django_celery_beat.models import PeriodicTask

from cases.models.checks import choice_check
from cases.models.jobs import Job
from cases.models.learning import ModelVersion
from cases.models.people import Site, User
from cases.vocabulary import FiringOutcome, SnapshotLineage, SnapshotRole, TrainingRecipe


class TrainingSnapshot(models.Model):
    """A frozen list of labelled pictures, named by the hash of its content. Never changed, but for
    the folder in which its pictures lie, which may be told later or move."""

    id = models.CharField(primary_key=True, max_length=64)
    # The data folder's own name when it was imported.
    name = models.CharField(max_length=200)
    images = models.PositiveIntegerField()
    # Pictures per class.
    classes = models.JSONField()
    # [{"source", "images", "licence"}]
    sources = models.JSONField(default=list)
    # The rule's counts: groups, near-duplicate groups, conflicts, quarantined pictures.
    grouping = models.JSONField(default=dict)
    skipped = models.PositiveIntegerField(default=0)
    # Where the pictures lie on the machine that trains; "" where nobody has told.
    data_root = models.CharField(max_length=1000, blank=True)
    # The whole document, in storage: a worker elsewhere needs no shared folder for it.
    storage_name = models.CharField(max_length=128)
    # Of that document's bytes: `verify_storage` compares it.
    document_sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    # Of accepted images: for training, or locked to test with; "" for an imported folder.
    role = models.CharField(
        max_length=12,
        blank=True,
        default="",
        db_default="",
        choices=[(r.value, r.value) for r in SnapshotRole],
    )
    # Whose patients it holds; null: an imported folder, which is everybody's.
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+", null=True)
    created_by = models.CharField(max_length=160)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(role="") | Q(role__in=[r.value for r in SnapshotRole]),
                name="trainingsnapshot_role_known",
            )
        ]


class TrainingSchedule(models.Model):
    """When a training starts by itself, from what, and on which conditions."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=80)
    # The scheduler's own row: times, on or off, when it fired last.
    task = models.OneToOneField(PeriodicTask, on_delete=models.PROTECT, related_name="+")
    recipe = models.CharField(max_length=16, choices=[(r.value, r.value) for r in TrainingRecipe])
    init = models.CharField(max_length=120)
    seed = models.PositiveIntegerField(default=0)
    epochs = models.PositiveSmallIntegerField(null=True)
    size = models.PositiveSmallIntegerField(null=True)
    limit_images = models.PositiveIntegerField(null=True)
    # What the models of its runs are judged by; null: they come without a verdict.
    plan = models.ForeignKey(
        "cases.GatePlan", on_delete=models.PROTECT, related_name="+", null=True
    )
    # Of which snapshots the newest is taken, and of an imported folder its name.
    lineage = models.CharField(
        max_length=12,
        choices=[(x.value, x.value) for x in SnapshotLineage],
        default=SnapshotLineage.ANY.value,
        db_default=SnapshotLineage.ANY.value,
    )
    lineage_name = models.CharField(max_length=200, blank=True, default="", db_default="")
    # Conditions: pictures in the newest snapshot that the last finished run had not; hours.
    min_new_images = models.PositiveIntegerField(default=0)
    window_start = models.TimeField(null=True)
    window_end = models.TimeField(null=True)
    created_by = models.CharField(max_length=160)
    created_by_user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            choice_check("recipe", TrainingRecipe, name="trainingschedule_recipe_known"),
            choice_check("lineage", SnapshotLineage, name="trainingschedule_lineage_known"),
            models.CheckConstraint(
                condition=Q(lineage=SnapshotLineage.IMPORTED.value) & ~Q(lineage_name="")
                | ~Q(lineage=SnapshotLineage.IMPORTED.value) & Q(lineage_name=""),
                name="trainingschedule_folder_named",
            ),
            models.UniqueConstraint(fields=["site", "name"], name="trainingschedule_name_once"),
            models.CheckConstraint(
                condition=Q(window_start__isnull=True, window_end__isnull=True)
                | Q(window_start__isnull=False, window_end__isnull=False),
                name="trainingschedule_window_whole",
            ),
        ]


class TrainingRun(models.Model):
    """One training: what was asked for, and what came of it. Its states are those of its job."""

    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, primary_key=True, related_name="training_run"
    )
    snapshot = models.ForeignKey(TrainingSnapshot, on_delete=models.PROTECT, related_name="runs")
    recipe = models.CharField(max_length=16, choices=[(r.value, r.value) for r in TrainingRecipe])
    # "active", "imagenet", "none" or "file:NAME".
    init = models.CharField(max_length=120)
    # The model that was live when "active" was asked for: a resumed run starts from the same.
    init_model = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="+", null=True
    )
    seed = models.PositiveIntegerField(default=0)
    # Null: what the recipe says; all pictures.
    epochs = models.PositiveSmallIntegerField(null=True)
    size = models.PositiveSmallIntegerField(null=True)
    limit_images = models.PositiveIntegerField(null=True)
    reason = models.CharField(max_length=500)
    requested_by = models.CharField(max_length=160)
    # Who may not approve what comes of it.
    requested_by_user = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", null=True
    )
    schedule = models.ForeignKey(
        TrainingSchedule, on_delete=models.PROTECT, related_name="runs", null=True
    )
    idempotency_owner = models.UUIDField(null=True)
    idempotency_key = models.CharField(max_length=200, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True)
    # What the training said when it began: pictures per part, steps, device.
    facts = models.JSONField(default=dict)
    log_tail = models.TextField(blank=True)
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="training_runs", null=True
    )
    weights_sha256 = models.CharField(max_length=64, blank=True)
    card = models.JSONField(null=True)
    # The plan its model is judged by, frozen by its hash when the run was asked for.
    plan = models.ForeignKey(
        "cases.GatePlan", on_delete=models.PROTECT, related_name="runs", null=True
    )
    plan_sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    # The whole report of the gate, in storage.
    gate_report = models.CharField(max_length=128, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            choice_check("recipe", TrainingRecipe, name="trainingrun_recipe_known"),
            models.CheckConstraint(
                condition=(Q(init="active") & Q(init_model__isnull=False))
                | (~Q(init="active") & Q(init_model__isnull=True)),
                name="trainingrun_active_names_its_model",
            ),
            models.CheckConstraint(
                condition=Q(model_version__isnull=True, weights_sha256="", card__isnull=True)
                | (Q(model_version__isnull=False, card__isnull=False) & ~Q(weights_sha256="")),
                name="trainingrun_output_whole",
            ),
            models.CheckConstraint(
                condition=Q(plan__isnull=True, plan_sha256="", gate_report="")
                | Q(plan__isnull=False, plan_sha256__regex="^[0-9a-f]{64}$"),
                name="trainingrun_plan_frozen",
            ),
            # With a plan no model comes of it without a verdict.
            models.CheckConstraint(
                condition=Q(plan__isnull=True)
                | Q(model_version__isnull=True, gate_report="")
                | (Q(model_version__isnull=False) & ~Q(gate_report="")),
                name="trainingrun_judged_by_its_plan",
            ),
        ]
        indexes = [
            models.Index(
                fields=["idempotency_owner", "idempotency_key", "-created_at"],
                condition=~Q(idempotency_key=""),
                name="trainingrun_idempotency",
            )
        ]


class TrainingEpoch(models.Model):
    """One line of a run's epoch table. Written anew when a resumed run repeats the epoch."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="epoch_rows")
    epoch = models.PositiveSmallIntegerField()
    values = models.JSONField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["epoch"]
        constraints = [models.UniqueConstraint(fields=["run", "epoch"], name="trainingepoch_once")]


class ScheduleFiring(models.Model):
    """What came of one firing of a schedule, and why."""

    schedule = models.ForeignKey(TrainingSchedule, on_delete=models.CASCADE, related_name="firings")
    outcome = models.CharField(max_length=16, choices=[(o.value, o.value) for o in FiringOutcome])
    why = models.CharField(max_length=500)
    run = models.ForeignKey(TrainingRun, on_delete=models.PROTECT, related_name="+", null=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            choice_check("outcome", FiringOutcome, name="schedulefiring_outcome_known"),
            models.CheckConstraint(
                condition=Q(outcome=FiringOutcome.STARTED.value, run__isnull=False)
                | (~Q(outcome=FiringOutcome.STARTED.value) & Q(run__isnull=True)),
                name="schedulefiring_run_exactly_when_started",
            ),
        ]
