"""A delivery of files: the form that brings it and the receipt."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from cases.access import Capability
from cases.api.serializers.fields import LinkField, choices
from cases.models import Submission
from cases.states import JobState
from cases.vocabulary import Indication, Laterality, OnBadFile, Priority, Quadrant, Sex


@extend_schema_serializer(component_name="SubmissionForm")
class SubmissionFormSerializer(serializers.Serializer[Any]):
    """The fields of `POST /submissions/`, for the schema; `services.fields` checks them."""

    file = serializers.ListField(
        child=serializers.FileField(), help_text="One or more files; the field is repeatable."
    )
    patient_id = serializers.CharField(
        required=False,
        max_length=64,
        help_text="DICOM LO. Required unless the DICOM file carries it.",
    )
    patient_issuer = serializers.CharField(
        required=False, max_length=64, help_text="Where left out: the site's issuer."
    )
    accession_number = serializers.CharField(required=False, max_length=16)
    accession_issuer = serializers.CharField(required=False, max_length=64)
    patient_name = serializers.CharField(
        required=False, max_length=194, help_text="DICOM PN: Family^Given."
    )
    birth_date = serializers.DateField(required=False)
    sex = serializers.ChoiceField(choices(Sex), required=False)
    laterality = serializers.ChoiceField(choices(Laterality), required=False)
    clock_position = serializers.IntegerField(required=False, min_value=1, max_value=12)
    quadrant = serializers.ChoiceField(choices(Quadrant), required=False)
    nipple_distance_mm = serializers.FloatField(required=False, min_value=0, max_value=300)
    indication = serializers.ChoiceField(choices(Indication), required=False)
    priority = serializers.ChoiceField(choices(Priority), required=False)
    on_bad_file = serializers.ChoiceField(choices(OnBadFile), required=False)


class CaseRefSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("case-detail")


class SubmittedImageSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("image-detail")
    sha256 = serializers.CharField()
    duplicate_of = serializers.UUIDField(source="duplicate_of_id", allow_null=True)


class SubmittedJobSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("job-detail")
    image = serializers.UUIDField(source="image_id")
    state = serializers.ChoiceField(choices(JobState))


class SkippedFileSerializer(serializers.Serializer[Any]):
    file = serializers.CharField(
        allow_null=True, help_text="The sender's file name; null for readers without identity."
    )
    code = serializers.CharField()
    detail = serializers.CharField()


class SubmissionSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("submission-detail")
    case = CaseRefSerializer()
    images = SubmittedImageSerializer(many=True)
    jobs = SubmittedJobSerializer(many=True)
    skipped = SkippedFileSerializer(many=True)

    def to_representation(self, instance: Submission) -> dict[str, Any]:
        data: dict[str, Any] = super().to_representation(instance)
        actor = self.context["actor"]
        # People put names into file names: who may not see identity sees no file name.
        if not (actor.can(Capability.VIEW_IDENTITY) or instance.user_id == actor.user_id):
            for skipped in data["skipped"]:
                skipped["file"] = None
        return data


class SubmissionListItemSerializer(SubmissionSerializer):
    """A submission in a list: with its time."""

    created_at = serializers.DateTimeField()
