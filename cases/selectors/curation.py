"""Reading training candidates: which there are, what speaks against one, what looks like it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import (
    CandidateEvent,
    FindingOutcome,
    FrozenPicture,
    Image,
    Result,
    TrainingCandidate,
)
from cases.selectors.outcomes import images_trainable, patient_is_trainable
from cases.selectors.similar import NEAR_BITS, bits_apart
from cases.states import CandidateState
from cases.vocabulary import OutcomeBasis

# Of these a label speaks: what was rejected or has lapsed contradicts nobody.
SPEAKING = (CandidateState.PENDING, CandidateState.ACCEPTED)


def candidate_list(
    *, actor: Actor, state: str = "", label: str = "", basis: str = "", only: str = ""
) -> QuerySet[TrainingCandidate]:
    """The candidates of the actor's site, newest first; ``only``: "conflict" or "unfrozen".

    ``PermissionDenied`` without CURATE. What does not fit a filter is nothing, not an error.
    """
    actor.require(Capability.CURATE)
    rows = TrainingCandidate.objects.filter(image__case__site_id=actor.own_site)
    for name, value in (("state", state), ("label", label), ("basis", basis)):
        if value:
            rows = rows.filter(**{name: value})
    if only == "conflict":
        rows = rows.exclude(conflict="")
    frozen = Exists(FrozenPicture.objects.filter(candidate=OuterRef("pk")))
    if only == "unfrozen":
        rows = rows.filter(~frozen)
    return (
        rows.annotate(is_frozen=frozen)
        .select_related("image", "image__case__patient", "decided_by", "outcome")
        .order_by("-created_at", "-id")
    )


def candidate_get(*, actor: Actor, candidate_id: UUID) -> TrainingCandidate:
    """One candidate. ``NotFound`` at another site, ``PermissionDenied`` without CURATE."""
    candidate = candidate_list(actor=actor).filter(pk=candidate_id).first()
    if candidate is None:
        raise NotFound()
    return candidate


def candidate_counts(*, actor: Actor) -> dict[str, int]:
    """How many candidates of the site there are in each state, how many of them in conflict and
    waiting, and how many accepted ones no snapshot holds yet."""
    actor.require(Capability.CURATE)
    rows = TrainingCandidate.objects.filter(image__case__site_id=actor.own_site)
    counts = {state.value: 0 for state in CandidateState}
    counts |= {
        row["state"]: row["n"] for row in rows.order_by().values("state").annotate(n=Count("pk"))
    }
    waiting = rows.filter(state=CandidateState.PENDING)
    counts["conflicts"] = waiting.exclude(conflict="").count()
    counts["unfrozen"] = candidates_unfrozen(site_id=actor.own_site)
    return counts


def candidates_unfrozen(*, site_id: UUID) -> int:
    """Accepted images of a site that no snapshot holds."""
    accepted = TrainingCandidate.objects.filter(
        image__case__site_id=site_id, state=CandidateState.ACCEPTED
    )
    return accepted.filter(frozen__isnull=True).count()


def candidate_events(candidate: TrainingCandidate) -> list[CandidateEvent]:
    """What happened to it, oldest first. The caller has let the actor see the candidate."""
    return list(candidate.events.order_by("id"))


def candidate_options(candidate: TrainingCandidate) -> list[FindingOutcome]:
    """The outcomes that a person may choose from, where its findings conflict; else its own."""
    outcomes = {
        str(outcome.pk): outcome
        for outcome in FindingOutcome.objects.select_related("finding").filter(
            pk__in=candidate.rests_on
        )
    }
    return [outcomes[pk] for pk in candidate.rests_on if pk in outcomes]


def frozen_in(candidate: TrainingCandidate) -> list[FrozenPicture]:
    """The snapshots that hold it, oldest first."""
    return list(candidate.frozen.select_related("freeze__snapshot").order_by("id"))


@dataclass(frozen=True)
class Lookalike:
    """An image that looks like a candidate's: no name, only whether it is the same patient."""

    image_id: UUID
    bits: int
    same_patient: bool
    candidate: TrainingCandidate | None

    @property
    def label(self) -> str:
        return self.candidate.label if self.candidate else ""

    @property
    def speaks(self) -> bool:
        return self.candidate is not None and self.candidate.state in SPEAKING

    def contradicts(self, label: str) -> bool:
        return bool(label) and self.speaks and self.label not in ("", label)


def lookalikes_of(candidate: TrainingCandidate, *, limit: int = 50) -> list[Lookalike]:
    """Up to ``limit`` other images of its site that look like it, nearest first.

    The caller has let the actor see the candidate. Another site's are compared when a snapshot is
    made, by what stands in the snapshots.
    """
    image = candidate.image
    if image.phash is None:
        return []
    rows = (
        Image.objects.filter(case__site_id=image.case.site_id, phash__isnull=False)
        .exclude(pk=image.pk)
        .annotate(bits=bits_apart(image.phash))
        .filter(bits__lte=NEAR_BITS)
        .select_related("case", "candidate")
        .order_by("bits", "created_at", "id")[:limit]
    )
    return [
        Lookalike(
            row.pk,
            row.bits,
            row.case.patient_id == image.case.patient_id,
            getattr(row, "candidate", None),
        )
        for row in rows
    ]


def image_box(image: Image) -> list[int] | None:
    """The part of the representative frame that the worker took for the ultrasound region, as the
    newest result has it; None before any result tells."""
    told = (
        Result.objects.filter(image=image, frame=image.frame, transform__isnull=False)
        .order_by("-created_at", "-id")
        .values_list("transform", flat=True)
        .first()
    )
    return None if told is None else [int(edge) for edge in told["content"]]


def box_is_whole(image: Image, box: list[int]) -> bool:
    return box == [0, 0, image.width, image.height]


def withdrawn_images(images: Iterable[UUID]) -> set[UUID]:
    """Those of ``images`` whose newest answer of the representative frame was withdrawn: somebody
    said that it must not be used, and nobody has run the image again."""
    newest: dict[UUID, bool] = {}
    rows = (
        Result.objects.filter(image_id__in=list(images), frame=F("image__frame"))
        .order_by("image_id", "-created_at", "-id")
        .distinct("image_id")
        .values_list("image_id", "withdrawal__at")
    )
    for image_id, withdrawn_at in rows:
        newest[image_id] = withdrawn_at is not None
    return {image_id for image_id, withdrawn in newest.items() if withdrawn}


def hindrances(candidate: TrainingCandidate, lookalikes: Iterable[Lookalike]) -> list[str]:
    """Why a candidate cannot be accepted now whoever looks, in sentences; empty where it can.

    ``lookalikes``: those of `lookalikes_of`.
    """
    image = candidate.image
    told = []
    if image.case.patient.erased_at is not None:
        told.append("The patient's data was erased.")
    elif not patient_is_trainable(image.case.patient):
        told.append("The patient wants no part in research.")
    if image_box(image) is None or image.phash is None:
        told.append(
            "The model has not read the image yet, so its ultrasound region and what looks like "
            "it are not known."
        )
    if withdrawn_images([image.pk]):
        told.append(
            "The image's answer was withdrawn. It counts again once the image was run again."
        )
    told.extend(contradiction(look) for look in lookalikes if look.contradicts(candidate.label))
    return told


def contradiction(look: Lookalike) -> str:
    assert look.candidate is not None
    state = "accepted" if look.candidate.state == CandidateState.ACCEPTED else "waiting"
    whose = "the same patient" if look.same_patient else "another patient"
    return (
        f"An image of {whose} looks the same and is {state} as {look.label}. Reject one of the "
        "two first."
    )


def accepted_trainable(*, site_id: UUID) -> QuerySet[TrainingCandidate]:
    """Accepted candidates of a site, of patients who are part of research."""
    images = images_trainable(Image.objects.filter(case__site_id=site_id))
    return TrainingCandidate.objects.filter(
        Q(state=CandidateState.ACCEPTED) & Q(image__in=images)
    ).select_related("image__case__patient", "image__case__site", "outcome")


def by_reader_alone(candidate: TrainingCandidate) -> bool:
    return candidate.basis == OutcomeBasis.READER_ONLY
