"""Snapshots and training runs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.access import Actor, Capability
from cases.api.serializers.fields import LinkField, OptionalCharField, OptionalChoiceField, choices
from cases.api.serializers.jobs import JobErrorSerializer
from cases.api.serializers.promotion import GateSerializer
from cases.api.serializers.results import ModelRefSerializer
from cases.models import TrainingRun, TrainingSnapshot
from cases.selectors.gates import verdict_of_run
from cases.selectors.training import training_run_ahead
from cases.services.training_fields import MAX_REASON
from cases.states import JobState
from cases.vocabulary import (
    PICTURES_TAKEN_BACK,
    IfRunning,
    JobKind,
    SnapshotRole,
    TrainingRecipe,
)


class SnapshotRefSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(source="pk")
    url = LinkField("training-snapshot-detail")
    name = serializers.CharField()
    images = serializers.IntegerField()


class SnapshotSourceSerializer(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment]
        allow_null=True, help_text="Null: that of the folder's name."
    )
    images = serializers.IntegerField()
    licence = serializers.CharField(allow_blank=True)


class SnapshotSerializer(SnapshotRefSerializer):
    """A frozen list of labelled pictures."""

    id = serializers.CharField(source="pk", help_text="SHA-256 of its content.")
    classes = serializers.DictField(child=serializers.IntegerField(), help_text="Pictures.")
    sources = SnapshotSourceSerializer(many=True)
    grouping = serializers.DictField(help_text="The rule of groups and what it found.")
    skipped = serializers.IntegerField(help_text="Files left out when it was made.")
    pictures_known = serializers.SerializerMethodField(
        help_text="Whether anybody has told where its pictures lie: without, no run starts."
    )
    locked = serializers.BooleanField(
        source="is_locked", help_text="Models are judged on it, no run starts."
    )
    role = OptionalChoiceField(
        choices(SnapshotRole), help_text="Of accepted images: what it is for. Null: imported."
    )
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()

    def get_pictures_known(self, snapshot: TrainingSnapshot) -> bool:
        return bool(snapshot.data_root)


class TrainingRunRefSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("training-run-detail")


class TrainingProgressSerializer(serializers.Serializer[Any]):
    phase = serializers.CharField(help_text="preparing, training, measuring or judging")
    epoch = serializers.IntegerField(required=False)
    epochs = serializers.IntegerField(required=False)
    step = serializers.IntegerField(required=False)
    steps = serializers.IntegerField(required=False)
    loss = serializers.FloatField(required=False, allow_null=True)
    eta_seconds = serializers.IntegerField(
        required=False, allow_null=True, help_text="Until the last epoch ends, about."
    )


class TrainingRunSerializer(serializers.Serializer[Any]):
    """A run as a list shows it."""

    id = serializers.UUIDField(source="pk", help_text="Also that of its job.")
    url = LinkField("training-run-detail")
    kind = serializers.ChoiceField(choices(JobKind), source="job.kind")
    state = serializers.ChoiceField(choices(JobState), source="job.state")
    attempt = serializers.IntegerField(source="job.attempt")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(source="job.started_at", allow_null=True)
    finished_at = serializers.DateTimeField(source="job.finished_at", allow_null=True)
    snapshot = SnapshotRefSerializer()
    recipe = serializers.ChoiceField(choices(TrainingRecipe))
    init = serializers.CharField(help_text="active, imagenet, none or file:NAME")
    init_model = ModelRefSerializer(allow_null=True, help_text="Of `active`: the model of then.")
    seed = serializers.IntegerField()
    epochs = serializers.IntegerField(allow_null=True, help_text="Null: as the recipe says.")
    size = serializers.IntegerField(allow_null=True, help_text="Null: as the recipe says.")
    limit_images = serializers.IntegerField(allow_null=True)
    requested_by = serializers.CharField()
    reason = serializers.CharField()
    schedule = serializers.UUIDField(source="schedule_id", allow_null=True)
    plan = serializers.UUIDField(
        source="plan_id", allow_null=True, help_text="The gate plan its model is judged by."
    )
    plan_sha256 = OptionalCharField(help_text="Frozen when the run was asked for.")
    progress = TrainingProgressSerializer(source="job.progress", allow_null=True)
    model = ModelRefSerializer(source="model_version", allow_null=True)
    verdict = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    @extend_schema_field(GateSerializer(allow_null=True))
    def get_verdict(self, run: TrainingRun) -> dict[str, Any] | None:
        gate = verdict_of_run(run)
        return None if gate is None else dict(GateSerializer(gate).data)

    @extend_schema_field(JobErrorSerializer(allow_null=True))
    def get_error(self, run: TrainingRun) -> dict[str, str] | None:
        called_off = run.job.state == JobState.CANCELLED
        # By the service itself, not by a person.
        called_off = called_off and run.job.error_code == PICTURES_TAKEN_BACK
        if run.job.state != JobState.FAILED and not called_off:
            return None
        return {"code": run.job.error_code, "detail": run.job.error_detail}


class TrainingEpochSerializer(serializers.Serializer[Any]):
    epoch = serializers.IntegerField()
    values = serializers.DictField(
        child=serializers.FloatField(allow_null=True), help_text="Losses, accuracy, seconds."
    )


class TrainingRunDetailSerializer(TrainingRunSerializer):
    """With its epoch table and the end of its log."""

    waits_for = serializers.SerializerMethodField(
        help_text="While it waits: the run of this site that goes before it."
    )
    history = TrainingEpochSerializer(source="epoch_rows", many=True)
    facts = serializers.DictField(help_text="What the training said when it began.")
    log_tail = serializers.SerializerMethodField(
        help_text="Null for those who may not train: it holds tracebacks and names of files."
    )

    def get_log_tail(self, run: TrainingRun) -> str | None:
        actor: Actor = self.context["actor"]
        return run.log_tail if actor.can(Capability.TRAIN) else None

    @extend_schema_field(TrainingRunRefSerializer(allow_null=True))
    def get_waits_for(self, run: TrainingRun) -> dict[str, Any] | None:
        ahead = training_run_ahead(run)
        if ahead is None or ahead.job.site_id != run.job.site_id:
            return None
        return dict(TrainingRunRefSerializer(ahead, context=self.context).data)


class TrainingRequestSerializer(serializers.Serializer[Any]):
    """`POST /training-runs/`."""

    snapshot = serializers.CharField(max_length=64)
    recipe = serializers.CharField(
        required=False, default=TrainingRecipe.BCWEB.value, help_text="bcweb or paper"
    )
    init = serializers.CharField(
        required=False,
        default="active",
        max_length=120,
        help_text="active, imagenet, none or file:NAME",
    )
    seed = serializers.IntegerField(required=False, default=0)
    epochs = serializers.IntegerField(required=False, allow_null=True)
    size = serializers.IntegerField(required=False, allow_null=True)
    limit_images = serializers.IntegerField(required=False, allow_null=True)
    plan = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="A gate plan of the site."
    )
    reason = serializers.CharField(max_length=MAX_REASON)
    if_running = serializers.ChoiceField(
        choices(IfRunning), required=False, default=IfRunning.REFUSE.value
    )


class CancelReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON)
