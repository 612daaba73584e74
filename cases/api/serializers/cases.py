"""Cases, findings and images with their answers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cases.access import Actor, Capability
from cases.api.serializers.evidence import EvidenceFlagSerializer, flags_for
from cases.api.serializers.fields import (
    LinkField,
    OptionalCharField,
    OptionalChoiceField,
    choices,
)
from cases.api.serializers.outcomes import OutcomeSerializer
from cases.api.serializers.readings import ReadingSerializer
from cases.api.serializers.results import ResultSerializer
from cases.models import Image
from cases.reports.answers import (
    RESEARCH_NOTE,
    CaseSummary,
    ImageAnswer,
    above_threshold,
    headline,
    image_answer,
)
from cases.reports.evidence import flags_json
from cases.states import JobState
from cases.vocabulary import Indication, Laterality, Quadrant, Sex

# What may stand for an image or a case (reports.answers says when each does).
ANSWER_STATES = (
    "waiting",
    "reading",
    "above",
    "below",
    "no_lesion",
    "abstained",
    "refused",
    "failed",
    "cancelled",
    "withdrawn",
    "withheld",
)


class PatientSerializer(serializers.Serializer[Any]):
    patient_id = serializers.CharField()
    issuer = serializers.CharField()
    name = OptionalCharField(help_text="DICOM PN as sent.")
    birth_date = serializers.DateField(allow_null=True)
    sex = OptionalChoiceField(choices(Sex))
    research_opt_out = serializers.BooleanField(help_text="In no new training data.")


class FindingSerializer(serializers.Serializer[Any]):
    """A place in the breast that images may be about."""

    id = serializers.UUIDField(source="pk")
    number = serializers.IntegerField()
    laterality = serializers.ChoiceField(choices(Laterality))
    clock_position = serializers.IntegerField(allow_null=True)
    quadrant = OptionalChoiceField(choices(Quadrant))
    nipple_distance_mm = serializers.FloatField(allow_null=True)


class SpacingSerializer(serializers.Serializer[Any]):
    """Distance of pixel centres in mm."""

    row = serializers.FloatField(source="spacing_row_mm")
    column = serializers.FloatField(source="spacing_col_mm")


class AnswerJobSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("job-detail")
    state = serializers.ChoiceField(choices(JobState))


class AnswerSerializer(serializers.Serializer[Any]):
    """What stands for one image now: its newest job and the newest result of each frame."""

    state = serializers.ChoiceField(ANSWER_STATES, source="key")
    words = serializers.CharField()
    headline = serializers.SerializerMethodField()
    final = serializers.BooleanField(source="is_final")
    job = AnswerJobSerializer(allow_null=True)
    results = ResultSerializer(many=True)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_headline(self, answer: ImageAnswer) -> str | None:
        return None if answer.deciding is None else headline(answer.deciding)


class ImageSerializer(serializers.Serializer[Any]):
    """An image as it was sent, what intake found in it, and its answer."""

    id = serializers.UUIDField(source="pk")
    url = LinkField("image-detail")
    file_url = LinkField("image-file")
    preview_url = LinkField("image-preview")
    case = serializers.UUIDField(source="case_id")
    submission = serializers.UUIDField(source="submission_id")
    finding = serializers.UUIDField(source="finding_id", allow_null=True)
    file_name = serializers.SerializerMethodField()
    sha256 = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes.")
    format = serializers.CharField()
    media_type = serializers.CharField()
    width = serializers.IntegerField(help_text="Pixels, as displayed.")
    height = serializers.IntegerField(help_text="Pixels, as displayed.")
    frames = serializers.IntegerField()
    frame = serializers.IntegerField(help_text="The representative frame, 0-based.")
    laterality = serializers.ChoiceField(choices(Laterality))
    spacing_mm = serializers.SerializerMethodField()
    manufacturer = OptionalCharField()
    manufacturer_model = OptionalCharField()
    study_instance_uid = OptionalCharField()
    series_instance_uid = OptionalCharField()
    sop_instance_uid = OptionalCharField()
    duplicate_of = serializers.UUIDField(source="duplicate_of_id", allow_null=True)
    created_at = serializers.DateTimeField()

    @extend_schema_field(
        serializers.CharField(
            allow_null=True, help_text="Null for readers without identity: names are in it."
        )
    )
    def get_file_name(self, image: Image) -> str | None:
        actor: Actor = self.context["actor"]
        return image.file_name if actor.can(Capability.VIEW_IDENTITY) else None

    @extend_schema_field(SpacingSerializer(allow_null=True))
    def get_spacing_mm(self, image: Image) -> dict[str, float] | None:
        if image.spacing_row_mm is None or image.spacing_col_mm is None:
            return None
        return dict(SpacingSerializer(image).data)


class AnsweredImageSerializer(ImageSerializer):
    """An image with its answer. Its jobs and their results are loaded (selectors.cases).

    Context: `stated`.
    """

    answer = serializers.SerializerMethodField()
    outside_evidence = serializers.SerializerMethodField(
        help_text="Why the image lies outside what the models were tested on; no answer changes."
    )

    @extend_schema_field(AnswerSerializer)
    def get_answer(self, image: Image) -> dict[str, Any]:
        return dict(self._answers.to_representation(image_answer(image)))

    @cached_property
    def _answers(self) -> AnswerSerializer:
        """One for all images: making a serializer costs more than what it does for a row."""
        return AnswerSerializer(context=self.context)

    @extend_schema_field(EvidenceFlagSerializer(many=True))
    def get_outside_evidence(self, image: Image) -> list[dict[str, Any]]:
        return flags_json(flags_for(self.context, image.case, image))


class ScoredImageSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="image_id")
    url = LinkField("image-detail", source="image_id")


class ScoredResultSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="pk")
    url = LinkField("result-detail")


class HighestScoreSerializer(serializers.Serializer[Any]):
    """The highest malignant score among the answered images; never an average."""

    malignant_score = serializers.FloatField(source="score_malignant")
    threshold = serializers.FloatField()
    at_or_above_threshold = serializers.SerializerMethodField()
    frame = serializers.IntegerField()
    image = ScoredImageSerializer(source="*")
    result = ScoredResultSerializer(source="*")

    def get_at_or_above_threshold(self, result: Any) -> bool:
        return above_threshold(result)


class CaseSummarySerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(ANSWER_STATES, source="key")
    words = serializers.CharField()
    coverage = serializers.CharField(
        help_text="For example `in 2 of 3 images answered`, or `withheld until the case is read`."
    )
    images = serializers.IntegerField()
    answered = serializers.IntegerField()
    final = serializers.BooleanField(source="is_final", help_text="No job waits or runs.")
    highest = HighestScoreSerializer(source="top", allow_null=True)


class CaseSerializer(serializers.Serializer[Any]):
    """A `CaseSummary`: the case in a list."""

    id = serializers.UUIDField(source="case.pk")
    url = LinkField("case-detail", source="case.pk")
    site = serializers.CharField(source="case.site.code", help_text="The site's code.")
    patient = serializers.SerializerMethodField()
    accession_number = OptionalCharField(source="case.accession_number")
    accession_issuer = OptionalCharField(source="case.accession_issuer")
    study_instance_uid = OptionalCharField(source="case.study_instance_uid")
    indication = OptionalChoiceField(choices(Indication), source="case.indication")
    created_at = serializers.DateTimeField(source="case.created_at")
    findings = FindingSerializer(many=True, source="case.findings")
    summary = CaseSummarySerializer(source="*")
    erased_at = serializers.DateTimeField(
        source="case.patient.erased_at",
        allow_null=True,
        help_text="From then on the patient's identity and images are gone.",
    )
    research_note = serializers.SerializerMethodField()

    @extend_schema_field(PatientSerializer(allow_null=True))
    def get_patient(self, summary: CaseSummary) -> dict[str, Any] | None:
        actor: Actor = self.context["actor"]
        erased = summary.case.patient.erased_at is not None
        if erased or not actor.can(Capability.VIEW_IDENTITY):
            return None
        return dict(self._patients.to_representation(summary.case.patient))

    @cached_property
    def _patients(self) -> PatientSerializer:
        """One for all rows of a list."""
        return PatientSerializer()

    def get_research_note(self, summary: CaseSummary) -> str:
        return RESEARCH_NOTE


class CaseDetailSerializer(CaseSerializer):
    """The case with its images, their answers, and what people read and found out.

    Context: `readings`, `outcomes`, `stated`.
    """

    images = AnsweredImageSerializer(many=True, source="case.images")
    readings = serializers.SerializerMethodField()
    outcomes = serializers.SerializerMethodField()
    outside_evidence = serializers.SerializerMethodField(
        help_text="Why the case lies outside what the models were tested on; no answer changes."
    )

    @extend_schema_field(EvidenceFlagSerializer(many=True))
    def get_outside_evidence(self, summary: CaseSummary) -> list[dict[str, Any]]:
        return flags_json(flags_for(self.context, summary.case))

    @extend_schema_field(ReadingSerializer(many=True))
    def get_readings(self, summary: CaseSummary) -> list[dict[str, Any]]:
        rows = self.context["readings"]
        return list(ReadingSerializer(rows, many=True, context=self.context).data)

    @extend_schema_field(OutcomeSerializer(many=True))
    def get_outcomes(self, summary: CaseSummary) -> list[dict[str, Any]]:
        rows = self.context["outcomes"]
        return list(OutcomeSerializer(rows, many=True, context=self.context).data)
