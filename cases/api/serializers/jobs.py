"""Jobs in the words of the contract."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.api.serializers.fields import LinkField, choices
from cases.api.serializers.results import ResultSerializer
from cases.models import Job
from cases.selectors.jobs import answer_withheld
from cases.selectors.serving import Suspension, held_by_suspension
from cases.states import JobState
from cases.vocabulary import JobKind, Priority, PriorityRank


class JobErrorSerializer(serializers.Serializer[Any]):
    """Why a job failed."""

    code = serializers.CharField()
    detail = serializers.CharField()


class HeldSerializer(serializers.Serializer[Any]):
    """Why nobody takes a waiting job: answers are suspended."""

    code = serializers.CharField(help_text="`suspended`.")
    since = serializers.DateTimeField()
    detail = serializers.CharField()


class JobSerializer(serializers.Serializer[Any]):
    """`GET /jobs/{id}/`. Context: `queue_position`, `suspension`."""

    id = serializers.UUIDField(source="pk")
    url = LinkField("job-detail")
    kind = serializers.ChoiceField(choices(JobKind))
    state = serializers.ChoiceField(choices(JobState))
    attempt = serializers.IntegerField(help_text="0 until a worker takes the job.")
    priority = serializers.SerializerMethodField()
    queue_position = serializers.SerializerMethodField()
    held = serializers.SerializerMethodField()
    progress = serializers.DictField(allow_null=True, help_text="Of training runs.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    submission = serializers.UUIDField(source="submission_id", allow_null=True)
    image = serializers.UUIDField(source="image_id", allow_null=True)
    frame = serializers.IntegerField(allow_null=True)
    rerun_of = serializers.UUIDField(source="rerun_of_id", allow_null=True)
    replay_of = serializers.UUIDField(
        source="replay_of_id",
        allow_null=True,
        help_text="The result that a replay computes again; what came of it is at its address.",
    )
    error = serializers.SerializerMethodField()
    result = ResultSerializer(allow_null=True)
    result_withheld = serializers.SerializerMethodField()

    @extend_schema_field(serializers.ChoiceField(choices(Priority)))
    def get_priority(self, job: Job) -> str:
        return PriorityRank(job.priority).name.lower()

    @extend_schema_field(
        serializers.IntegerField(
            allow_null=True,
            min_value=0,
            help_text="How many jobs go first; null beyond 1,000 and once a worker has the job.",
        )
    )
    def get_queue_position(self, job: Job) -> int | None:
        position: int | None = self.context["queue_position"]
        return position

    @extend_schema_field(HeldSerializer(allow_null=True))
    def get_held(self, job: Job) -> dict[str, Any] | None:
        suspension: Suspension | None = self.context["suspension"]
        if suspension is None or not held_by_suspension(job):
            return None
        return {"code": "suspended", "since": suspension.since, "detail": suspension.reason}

    @extend_schema_field(
        serializers.BooleanField(
            help_text="The result is there, and this reader has to read the case first: for "
            "sessions of people at a site that reads first."
        )
    )
    def get_result_withheld(self, job: Job) -> bool:
        return answer_withheld(job)

    @extend_schema_field(JobErrorSerializer(allow_null=True))
    def get_error(self, job: Job) -> dict[str, str] | None:
        # An attempt that went wrong leaves its words on the row; only the last one counts.
        if job.state != JobState.FAILED:
            return None
        return {"code": job.error_code, "detail": job.error_detail}


class ResultRefSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("result-detail")


class JobListItemSerializer(JobSerializer):
    """A job in a list: its result by address (reading one is a request of its own), no place."""

    queue_position = None  # type: ignore[assignment]
    held = None  # type: ignore[assignment]
    result = ResultRefSerializer(allow_null=True)  # type: ignore[assignment]
