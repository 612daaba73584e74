"""How far the model in shadow and the live one disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Avg, Count, F, Max, Q, QuerySet
from django.db.models.functions import Abs

from cases.access import Actor, Capability
from cases.errors import PermissionDenied
from cases.models import Job, ModelVersion, ShadowResult
from cases.selectors.reader_first import is_open
from cases.states import JOB, JobState
from cases.vocabulary import JobKind

# Compared with an answer of record that still stands.
STANDING = Q(result__withdrawal__isnull=True)


@dataclass(frozen=True)
class Change:
    """So many images got ``live`` from the live model and ``shadow`` from the one in shadow.

    A label, or the outcome where there was none (abstained, refused).
    """

    live: str
    shadow: str
    count: int


@dataclass(frozen=True)
class ShadowSummary:
    """``n`` images of the actor's site that both have answered; score differences are those of
    the malignant score, shadow minus live, where both gave one. ``withdrawn`` more are left out:
    an answer that must not be used is nothing to be measured by."""

    n: int
    agree: int
    withdrawn: int
    waiting: int
    failed: int
    changes: tuple[Change, ...]
    scored: int
    mean_difference: float | None
    mean_absolute_difference: float | None
    largest_difference: float | None

    @property
    def changed(self) -> int:
        return self.n - self.agree


def shadow_shown(actor: Actor) -> bool:
    """Whether the actor sees what a model in shadow said: who trains or promotes.

    Nobody who reads cases, whatever else they do: a reader must not be swayed by it.
    """
    if actor.user_id is not None and actor.can(Capability.READ_CASES):
        return False
    return actor.can(Capability.TRAIN) or actor.can(Capability.PROMOTE)


def _shadow_results(actor: Actor, model_id: UUID) -> QuerySet[ShadowResult]:
    """Those of the actor's site. ``PermissionDenied`` unless `shadow_shown`."""
    if not shadow_shown(actor):
        raise PermissionDenied()
    return ShadowResult.objects.filter(model_version_id=model_id, job__site_id=actor.own_site)


def shadow_summary(*, actor: Actor, model: ModelVersion) -> ShadowSummary:
    """What is known of ``model`` in shadow, counted in the database."""
    everything = _shadow_results(actor, model.pk)
    results = everything.filter(STANDING)
    apart = F("score_malignant") - F("result__score_malignant")
    told: dict[str, Any] = results.aggregate(
        n=Count("pk"),
        agree=Count("pk", filter=Q(agrees=True)),
        scored=Count(
            "pk",
            filter=Q(score_malignant__isnull=False, result__score_malignant__isnull=False),
        ),
        mean_difference=Avg(apart),
        mean_absolute_difference=Avg(Abs(apart)),
        largest_difference=Max(Abs(apart)),
    )
    jobs = Job.objects.filter(
        kind=JobKind.SHADOW, model_version=model, site_id=actor.own_site
    ).aggregate(
        waiting=Count("pk", filter=Q(state__in=JOB.active)),
        failed=Count("pk", filter=Q(state=JobState.FAILED)),
    )
    withdrawn = everything.exclude(STANDING).count()
    return ShadowSummary(**told, **jobs, withdrawn=withdrawn, changes=tuple(_changes(results)))


def _changes(results: QuerySet[ShadowResult]) -> list[Change]:
    rows = (
        results.order_by()
        .values_list("result__outcome", "result__label", "outcome", "label")
        .annotate(count=Count("pk"))
    )
    counts: dict[tuple[str, str], int] = {}
    for live_outcome, live_label, outcome, label, count in rows:
        pair = (_word(live_outcome, live_label), _word(outcome, label))
        counts[pair] = counts.get(pair, 0) + count
    return [Change(*pair, count) for pair, count in sorted(counts.items())]


def _word(outcome: str, label: str) -> str:
    return label if outcome == "answered" else outcome


def shadow_disagreements(*, actor: Actor, model: ModelVersion) -> QuerySet[ShadowResult]:
    """Where the two disagree, newest first, with the results of record, their cases and patients.

    Without answers of record that were withdrawn, and without those that the actor must not see
    yet.
    """
    results = _shadow_results(actor, model.pk)
    if actor.opened_by is not None:
        results = results.filter(is_open(actor, case="result__image__case_id"))
    return (
        results.filter(STANDING, agrees=False)
        .select_related("result__image__case__patient")
        .defer("result__heatmap")
        .order_by("-created_at", "-job_id")
    )
