"""Query parameters and small request bodies, checked before anything is asked of the database."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from cases.api.pagination import MAX_CURSOR, MAX_PAGE_SIZE, PAGE_SIZE
from cases.api.serializers.fields import ZonedDateTimeField, choices
from cases.states import JobState
from cases.vocabulary import JobKind, Label

# Columns are at most this wide; a longer filter finds nothing and only costs.
MAX_TEXT = 64


class ListQuerySerializer(serializers.Serializer[Any]):
    cursor = serializers.CharField(
        required=False,
        max_length=MAX_CURSOR,
        help_text="From `next` or `previous` of an earlier page, as it is.",
    )
    page_size = serializers.IntegerField(
        required=False, default=PAGE_SIZE, min_value=1, max_value=MAX_PAGE_SIZE
    )


class JobQuerySerializer(ListQuerySerializer):
    state = serializers.ChoiceField(choices(JobState), required=False)
    kind = serializers.ChoiceField(choices(JobKind), required=False)


class ReadingQuerySerializer(ListQuerySerializer):
    case = serializers.UUIDField(required=False, help_text="Of this case only.")


class AuditQuerySerializer(ListQuerySerializer):
    action = serializers.CharField(
        required=False, max_length=60, help_text="Exactly, for example `case.viewed`."
    )
    object_id = serializers.CharField(required=False, max_length=MAX_TEXT)
    case = serializers.UUIDField(required=False)
    since = ZonedDateTimeField(required=False, help_text="At or after this moment.")
    until = ZonedDateTimeField(required=False, help_text="Before this moment.")


class ModelAtQuerySerializer(serializers.Serializer[Any]):
    at = ZonedDateTimeField(required=False, help_text="The moment; now where left out.")


class RecallQuerySerializer(ListQuerySerializer):
    since = ZonedDateTimeField(required=False, help_text="Answered at or after this moment.")
    until = ZonedDateTimeField(required=False, help_text="Answered before this moment.")


class PromotionQuerySerializer(ListQuerySerializer):
    state = serializers.ChoiceField(["open", "decided"], required=False)


class PreviewQuerySerializer(serializers.Serializer[Any]):
    frame = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text="0-based; the representative frame where left out.",
    )


class HeatmapQuerySerializer(serializers.Serializer[Any]):
    label = serializers.ChoiceField(  # type: ignore[assignment]
        choices(Label), required=False, default=Label.MALIGNANT.value
    )


class RerunSerializer(serializers.Serializer[Any]):
    frame = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=2**31 - 1,
        help_text="Another frame of a cine, 0-based; the job's own frame where left out.",
    )
