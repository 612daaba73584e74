"""What became of computing a result again."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.links import link
from cases.api.serializers.fields import LinkField, choices
from cases.api.serializers.jobs import JobErrorSerializer
from cases.models import Job
from cases.states import JobState


class DifferenceSerializer(serializers.Serializer[Any]):
    """One thing that did not come out as stored."""

    what = serializers.CharField(help_text="For example `score_malignant` or `label`.")
    stored = serializers.JSONField(allow_null=True)
    now = serializers.JSONField(allow_null=True)
    tolerance = serializers.FloatField(
        allow_null=True, help_text="Differences up to this count as equal; null: none does."
    )


class ReplaySerializer(serializers.Serializer[Any]):
    """The newest replay of a result. `equal` is null until its job has SUCCEEDED."""

    url = serializers.URLField()
    result = serializers.UUIDField(source="replay_of_id")
    job = serializers.UUIDField(source="pk")
    job_url = LinkField("job-detail")
    state = serializers.ChoiceField(choices(JobState))
    equal = serializers.BooleanField(allow_null=True)
    differences = DifferenceSerializer(many=True, allow_null=True)
    tolerance = serializers.FloatField(
        allow_null=True, help_text="Largest difference of a score that counts as equal."
    )
    engine = serializers.CharField(allow_null=True, help_text="What computed it this time.")
    error = JobErrorSerializer(allow_null=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: Job) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(self.told(instance))
        return shown

    def told(self, job: Job) -> dict[str, Any]:
        replay = getattr(job, "replay", None)
        failed = job.state == JobState.FAILED
        differences = None
        # Scores are for those who may see answers.
        if replay is not None and self.context["with_answers"]:
            differences = [{"tolerance": None, **found} for found in replay.differences]
        return {
            "url": link(self.context["request"], "result-replay", job.replay_of_id or ""),
            "replay_of_id": job.replay_of_id,
            "pk": job.pk,
            "state": job.state,
            "equal": replay.equal if replay else None,
            "differences": differences,
            "tolerance": replay.tolerance if replay else None,
            "engine": replay.engine if replay else None,
            "error": {"code": job.error_code, "detail": job.error_detail} if failed else None,
            "created_at": job.created_at,
            "finished_at": job.finished_at,
        }
