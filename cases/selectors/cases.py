"""Reading cases, images and submissions: always through the actor's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Case, Finding, Image, Job, Reading, Result, Submission
from cases.selectors.attached import attach
from cases.selectors.jobs import with_results
from cases.selectors.reader_first import answer_required_open, results_open
from cases.states import JOB
from cases.vocabulary import JobKind

ACTIVE = sorted(state.value for state in JOB.active)


def case_list(*, actor: Actor) -> QuerySet[Case]:
    """The cases of the actor's site, newest first. ``PermissionDenied`` without VIEW_CASES."""
    actor.require(Capability.VIEW_CASES)
    return (
        Case.objects.filter(site_id=actor.own_site)
        .select_related("patient", "site")
        .order_by("-created_at", "-id")
    )


def cases_unfinished(cases: QuerySet[Case], *, unfinished: bool) -> QuerySet[Case]:
    """Those of ``cases`` of which a job waits or runs, or those of which none does."""
    active = Job.objects.filter(kind=JobKind.INFERENCE, state__in=ACTIVE).values("image__case_id")
    return cases.filter(pk__in=active) if unfinished else cases.exclude(pk__in=active)


def cases_read(cases: QuerySet[Case], *, read: bool) -> QuerySet[Case]:
    """Those of ``cases`` that have a signed reading, or those that have none."""
    signed = Exists(Reading.objects.filter(case=OuterRef("pk"), signed_at__isnull=False))
    return cases.filter(signed if read else ~signed)


def with_answers(cases: QuerySet[Case], *, actor: Actor) -> QuerySet[Case]:
    """``cases`` with images, jobs and the results that the actor may see, in a constant number of
    queries."""
    jobs = with_results(Job.objects.all(), actor=actor).order_by("-created_at", "-id")
    images = Image.objects.prefetch_related(Prefetch("jobs", queryset=jobs)).order_by(
        "created_at", "position", "id"
    )
    findings = Finding.objects.order_by("number")
    return cases.prefetch_related(
        Prefetch("images", queryset=images), Prefetch("findings", queryset=findings)
    )


# What a line of a list says of an answer (`reports.answers.CaseSummary`).
_IN_A_LINE = (
    *("image_id", "frame", "state"),
    *("result__image_id", "result__frame", "result__outcome", "result__label"),
    *("result__score_malignant", "result__threshold", "result__withdrawal__result_id"),
)


def summaries_attach(cases: Sequence[Case], *, actor: Actor) -> None:
    """Give ``cases`` what their lines in a list are made of; as ``with_answers``, of few columns.

    A page has more than a hundred images, and each column of each costs.
    """
    jobs = Job.objects.select_related("result__withdrawal").only(*_IN_A_LINE)
    if actor.opened_by is not None:
        results = results_open(actor=actor, results=Result.objects.select_related("withdrawal"))
        told = [name.removeprefix("result__") for name in _IN_A_LINE if "__" in name]
        jobs = Job.objects.only("image_id", "frame", "state").prefetch_related(
            Prefetch("result", queryset=results.only("job_id", *told))
        )
    images = Image.objects.only("case_id", "manufacturer", "manufacturer_model").order_by(
        "created_at", "position", "id"
    )
    attach(attach(cases, "images", images), "jobs", jobs.order_by("-created_at", "-id"))


def findings_attach(cases: Sequence[Case]) -> None:
    """Give ``cases`` their findings, in the order of their numbers."""
    attach(cases, "findings", Finding.objects.order_by("number"))


def case_get(*, actor: Actor, case_id: UUID) -> Case:
    """One case with its answers. ``NotFound`` where it is not of the actor's site."""
    case = with_answers(case_list(actor=actor), actor=actor).filter(pk=case_id).first()
    if case is None:
        raise NotFound()
    return case


def image_get(*, actor: Actor, image_id: UUID) -> Image:
    """One image with its case and jobs. ``NotFound`` where it is not of the actor's site."""
    actor.require(Capability.VIEW_CASES)
    jobs = with_results(Job.objects.all(), actor=actor).order_by("-created_at", "-id")
    image = (
        Image.objects.filter(pk=image_id, case__site_id=actor.own_site)
        .select_related("case__patient", "case__site", "finding")
        .prefetch_related(Prefetch("jobs", queryset=jobs))
        .first()
    )
    if image is None:
        raise NotFound()
    return image


def result_get(*, actor: Actor, result_id: UUID) -> Result:
    """One result with its image and case. ``NotFound`` where it is not of the actor's site,
    ``AnswerWithheld`` where the site reads first and the actor's case is not read yet."""
    result = result_named(actor=actor, result_id=result_id)
    answer_required_open(actor=actor, case_id=result.image.case_id)
    return result


def result_named(*, actor: Actor, result_id: UUID) -> Result:
    """A result to be named, not told: whose model it is, when it came, whether it was withdrawn.

    Whoever takes it shows nothing of what it answered. ``NotFound`` as above.
    """
    actor.require(Capability.VIEW_CASES)
    result = (
        Result.objects.filter(pk=result_id, image__case__site_id=actor.own_site)
        .select_related("image__case__patient", "model_version", "job", "withdrawal")
        .defer("model_version__card")
        .first()
    )
    if result is None:
        raise NotFound()
    return result


def result_list(*, actor: Actor) -> QuerySet[Result]:
    """The results of the actor's site with their images and models, newest job first: without
    those that the actor must not see yet.

    By their jobs, which name the site: so the list of a small site is no walk through all.
    """
    actor.require(Capability.VIEW_CASES)
    results = Result.objects.filter(job__site_id=actor.own_site)
    return (
        results_open(actor=actor, results=results)
        .select_related("job", "image", "model_version", "withdrawal")
        .defer("model_version__card", "image__facts")
        .order_by("-job__created_at", "-job_id")
    )


def submission_get(*, actor: Actor, submission_id: UUID) -> Submission:
    """One submission with images and jobs, for its submitter or a viewer of the site's cases."""
    try:
        return _receipts(submissions_seen(actor).filter(pk=submission_id)).get()
    except Submission.DoesNotExist:
        raise NotFound() from None


def submission_list(*, actor: Actor, own: bool | None = None) -> QuerySet[Submission]:
    """The submissions of the actor's site with images and jobs, newest first.

    ``own``: those that this token (or person) sent, or the others'. Who may only submit sees their
    own in any case.
    """
    submissions = submissions_seen(actor)
    if own is not None:
        mine = Q(token_id=actor.token_id, user_id=actor.user_id)
        submissions = submissions.filter(mine) if own else submissions.exclude(mine)
    return _receipts(submissions).order_by("-created_at", "-id")


def submissions_seen(actor: Actor) -> QuerySet[Submission]:
    """Those the actor may see: a token that may only submit what it submitted itself."""
    submissions = Submission.objects.filter(site_id=actor.own_site)
    if not actor.can(Capability.VIEW_CASES):
        actor.require(Capability.SUBMIT)
        submissions = submissions.filter(token_id=actor.token_id, user=actor.user_id)
    return submissions


def _receipts(submissions: QuerySet[Submission]) -> QuerySet[Submission]:
    """What a receipt tells and no more: everybody who hands something in waits for it."""
    images = Image.objects.only("submission_id", "sha256", "duplicate_of_id")
    jobs = Job.objects.only("submission_id", "image_id", "state", "attempt").order_by(
        "created_at", "image__position", "id"
    )
    return submissions.select_related("case").prefetch_related(
        Prefetch("images", queryset=images), Prefetch("jobs", queryset=jobs)
    )
