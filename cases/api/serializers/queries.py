"""Query parameters and small request bodies, checked before anything is asked of the database."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import QueryDict
from rest_framework import serializers

from cases.api.pagination import MAX_CURSOR, MAX_PAGE_SIZE, PAGE_SIZE
from cases.api.serializers.fields import SaidBooleanField, ZonedDateTimeField, choices
from cases.states import JobState, ModelState
from cases.vocabulary import Indication, JobKind, Label, Outcome, Priority

# Columns are at most this wide; a longer filter finds nothing and only costs.
MAX_TEXT = 64


_ONCE = "Give this parameter once."
_EMPTY = "Give this parameter a value, or leave it out."


class QuerySerializer(serializers.Serializer[Any]):
    """Query parameters: one that is not known, empty or given twice is an error and not ignored.

    A filter with a typing error would otherwise answer with everything. Of those in
    ``may_be_empty`` an empty one is as good as none: it narrows nothing.
    """

    may_be_empty: ClassVar[frozenset[str]] = frozenset()

    def to_internal_value(self, data: Any) -> Any:
        errors = {
            name: ["There is no such parameter here."] for name in data if name not in self.fields
        }
        if isinstance(data, QueryDict):
            known = [(name, values) for name, values in data.lists() if name in self.fields]
            errors |= {name: [_ONCE] for name, values in known if len(values) > 1}
            empty = {name for name, values in known if values == [""]} - self.may_be_empty
            errors |= {name: [_EMPTY] for name in sorted(empty)}
        if errors:
            raise serializers.ValidationError(errors)
        return super().to_internal_value(data)


def order_by(column: str) -> serializers.ChoiceField:
    """The orders of a list: ``column`` falling (where left out) or rising."""
    return serializers.ChoiceField(
        [(f"-{column}", f"-{column}"), (column, column)],
        required=False,
        default=f"-{column}",
        help_text="`-` is descending. Links to other pages keep it.",
    )


def moment_field(words: str) -> ZonedDateTimeField:
    return ZonedDateTimeField(required=False, help_text=words)


class ListQuerySerializer(QuerySerializer):
    cursor = serializers.CharField(
        required=False,
        max_length=MAX_CURSOR,
        help_text="From `next` or `previous` of an earlier page, as it is.",
    )
    page_size = serializers.IntegerField(
        required=False, default=PAGE_SIZE, min_value=1, max_value=MAX_PAGE_SIZE
    )
    ordering = order_by("created_at")


class CreatedQuerySerializer(ListQuerySerializer):
    since = moment_field("Created at or after this moment.")
    until = moment_field("Created before this moment.")


# Query parameter to condition of the ORM, of lists by creation.
CREATED = {"since": "created_at__gte", "until": "created_at__lt"}


class CaseQuerySerializer(CreatedQuerySerializer):
    indication = serializers.ChoiceField(choices(Indication), required=False)
    unfinished = SaidBooleanField(
        required=False, help_text="Whether a job of the case waits or runs."
    )
    read = SaidBooleanField(
        required=False, help_text="Whether somebody has signed a reading of the case."
    )


class JobQuerySerializer(CreatedQuerySerializer):
    state = serializers.ChoiceField(choices(JobState), required=False)
    kind = serializers.ChoiceField(choices(JobKind), required=False)
    priority = serializers.ChoiceField(choices(Priority), required=False)
    case = serializers.UUIDField(required=False)
    submission = serializers.UUIDField(required=False)
    image = serializers.UUIDField(required=False)


class ResultQuerySerializer(ListQuerySerializer):
    since = moment_field("Of jobs created at or after this moment.")
    until = moment_field("Of jobs created before this moment.")
    outcome = serializers.ChoiceField(choices(Outcome), required=False)
    label = serializers.ChoiceField(choices(Label), required=False)  # type: ignore[assignment]
    withdrawn = SaidBooleanField(required=False, help_text="Whether it must not be used any more.")
    model = serializers.UUIDField(required=False, help_text="Of this model version.")
    case = serializers.UUIDField(required=False)
    image = serializers.UUIDField(required=False)


class SubmissionQuerySerializer(CreatedQuerySerializer):
    case = serializers.UUIDField(required=False)
    own = SaidBooleanField(required=False, help_text="Whether this token (or person) has sent it.")


class ReadingQuerySerializer(ListQuerySerializer):
    ordering = order_by("signed_at")
    case = serializers.UUIDField(required=False, help_text="Of this case only.")
    since = moment_field("Signed at or after this moment.")
    until = moment_field("Signed before this moment.")


class ModelQuerySerializer(ListQuerySerializer):
    state = serializers.ChoiceField(choices(ModelState), required=False)


class TrainingRunQuerySerializer(CreatedQuerySerializer):
    state = serializers.ChoiceField(choices(JobState), required=False)
    snapshot = serializers.SlugField(
        required=False, max_length=MAX_TEXT, help_text="Trained from this snapshot."
    )


class WebhookQuerySerializer(ListQuerySerializer):
    enabled = SaidBooleanField(required=False)


class AuditQuerySerializer(ListQuerySerializer):
    # By the serial number, which is the order in which they were written.
    ordering = order_by("at")
    action = serializers.CharField(
        required=False, max_length=60, help_text="Exactly, for example `case.viewed`."
    )
    object_id = serializers.CharField(required=False, max_length=MAX_TEXT)
    case = serializers.UUIDField(required=False)
    since = moment_field("At or after this moment.")
    until = moment_field("Before this moment.")


class ModelAtQuerySerializer(QuerySerializer):
    at = moment_field("The moment; now where left out.")


class RecallQuerySerializer(ListQuerySerializer):
    since = moment_field("Answered at or after this moment.")
    until = moment_field("Answered before this moment.")


class PromotionQuerySerializer(ListQuerySerializer):
    state = serializers.ChoiceField(["open", "decided"], required=False)


class PreviewQuerySerializer(QuerySerializer):
    may_be_empty = frozenset({"frame"})

    frame = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text="0-based; the representative frame where left out.",
    )


class HeatmapQuerySerializer(QuerySerializer):
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
