"""Whom to call back: every case that a version answered in a period."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Count, QuerySet

from cases.access import Actor, Capability
from cases.models import Image, ModelVersion, Result
from cases.selectors.reader_first import results_open
from cases.vocabulary import Outcome


def recall_results(
    *, actor: Actor, model: ModelVersion, since: datetime | None, until: datetime | None
) -> QuerySet[Result]:
    """What ``model`` answered for the actor's site from ``since`` to before ``until``.

    Newest first, each result with its withdrawal, image, case and patient; whether a name is shown
    is for the caller to decide by VIEW_IDENTITY. Withdrawn answers and those of erased patients are
    among them: the version gave them. Answers that the actor must not see yet are not, only their
    number (``recall_withheld``). ``PermissionDenied`` without VIEW_CASES.
    """
    given = _given(actor, model, since, until)
    return (
        results_open(actor=actor, results=given)
        .select_related("image__case__patient", "withdrawal")
        .defer("heatmap", "transform")
        .order_by("-created_at", "-id")
    )


def recall_withheld(
    *, actor: Actor, model: ModelVersion, since: datetime | None, until: datetime | None
) -> int:
    """How many cases of the same period are left out of the list, since they are not read yet."""
    if actor.opened_by is None:
        return 0
    given = _given(actor, model, since, until)
    left_out = given.exclude(pk__in=results_open(actor=actor, results=given).values("pk"))
    return left_out.order_by().values("image__case").distinct().count()


def _given(
    actor: Actor, model: ModelVersion, since: datetime | None, until: datetime | None
) -> QuerySet[Result]:
    actor.require(Capability.VIEW_CASES)
    results = Result.objects.filter(model_version=model, image__case__site_id=actor.own_site)
    if since is not None:
        results = results.filter(created_at__gte=since)
    if until is not None:
        results = results.filter(created_at__lt=until)
    return results


def recall_counts(results: QuerySet[Result]) -> tuple[int, int]:
    """(cases, results) of a recall list."""
    told = results.order_by().aggregate(
        cases=Count("image__case", distinct=True), results=Count("pk")
    )
    return told["cases"], told["results"]


def recall_unanswered(results: QuerySet[Result]) -> int:
    """How many results of a recall list are no answer: the model abstained or refused."""
    return results.order_by().exclude(outcome=Outcome.ANSWERED).count()


def image_numbers(results: Iterable[Result]) -> dict[UUID, int]:
    """Which image of its case each image of these cases is, counted as on the page of the case."""
    cases = {result.image.case_id for result in results}
    counted: dict[UUID, int] = {}
    numbers: dict[UUID, int] = {}
    for image, case in Image.objects.filter(case_id__in=cases).values_list("pk", "case_id"):
        counted[case] = numbers[image] = counted.get(case, 0) + 1
    return numbers
