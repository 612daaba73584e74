"""Failed jobs and what became of trying them again."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.api.serializers.fields import LinkField, ZonedDateTimeField
from cases.api.serializers.jobs import JobErrorSerializer
from cases.api.serializers.queries import ListQuerySerializer, order_by
from cases.models import Job
from cases.services.dead_letters import MAX_AT_ONCE, Retry


class DeadLetterQuerySerializer(ListQuerySerializer):
    ordering = order_by("finished_at")
    code = serializers.CharField(
        required=False, max_length=40, help_text="Exactly, for example `engine_crashed`."
    )
    since = ZonedDateTimeField(required=False, help_text="Failed at or after this moment.")
    until = ZonedDateTimeField(required=False, help_text="Failed before this moment.")


class JobAttemptSerializer(serializers.Serializer[Any]):
    """One attempt: which worker had the job, from when to when, and how it ended."""

    number = serializers.IntegerField()
    worker = serializers.CharField()
    began_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField()
    reason = serializers.CharField(allow_blank=True)


class DeadLetterSerializer(serializers.Serializer[Any]):
    """A job that failed and was not asked for again. Context: `attempts` by job."""

    id = serializers.UUIDField(source="pk")
    url = LinkField("job-detail")
    case = serializers.UUIDField(source="image.case_id")
    image = serializers.UUIDField(source="image_id")
    frame = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField()
    attempt = serializers.IntegerField(help_text="The last one's number.")
    error = serializers.SerializerMethodField()
    attempts = serializers.SerializerMethodField()

    @extend_schema_field(JobErrorSerializer)
    def get_error(self, job: Job) -> dict[str, str]:
        return {"code": job.error_code, "detail": job.error_detail}

    @extend_schema_field(JobAttemptSerializer(many=True))
    def get_attempts(self, job: Job) -> Any:
        return JobAttemptSerializer(self.context["attempts"][job.pk], many=True).data


class RetryRequestSerializer(serializers.Serializer[Any]):
    jobs = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MAX_AT_ONCE
    )


class RetrySerializer(serializers.Serializer[Any]):
    """One of them: the new job's id, or why there is none."""

    job = serializers.UUIDField(source="job_id")
    retried_as = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_retried_as(self, retry: Retry) -> str | None:
        return str(retry.new.pk) if retry.new is not None else None

    @extend_schema_field(JobErrorSerializer(allow_null=True))
    def get_error(self, retry: Retry) -> dict[str, str] | None:
        if retry.error is None:
            return None
        return {"code": retry.error.code, "detail": retry.error.detail}


class RetriesSerializer(serializers.Serializer[Any]):
    results = RetrySerializer(many=True)
