"""People decide about training candidates: at the portal, one by one, looking at the picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from PIL import Image as Raster

from cases.access import Actor, Capability
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import FindingOutcome, Image, TrainingCandidate
from cases.selectors.curation import (
    candidate_options,
    contradiction,
    hindrances,
    image_box,
    lookalikes_of,
)
from cases.services.candidate_moves import UNDECIDED, UNLABELLED, candidate_move, labelled
from cases.services.clock import clock_now
from cases.services.locks import advisory_lock
from cases.services.previews import image_preview
from cases.services.review import case_locked, reason_required
from cases.states import CandidateState
from cases.vocabulary import Pathology, training_label

CHANGED = "The image or what is known of it has changed since the page was drawn. Look again."


@transaction.atomic
def candidate_accept(
    *,
    actor: Actor,
    candidate_id: UUID,
    version: int,
    box: Sequence[int],
    reason: str,
    identity_checked: bool,
    outcome_id: UUID | None = None,
) -> TrainingCandidate:
    """PENDING -> ACCEPTED: the picture within ``box`` may be frozen into snapshots.

    ``version`` and ``box`` are those of the page the person looked at: ``StateConflict`` where
    they are others by now. ``outcome_id``: which of the conflicting findings the picture shows.
    ``FieldInvalid`` without a reason, without the word that no identity is visible, or without
    that choice; ``StateConflict`` while something speaks against it (`hindrances`), such as a
    picture that looks the same under the other label; ``NotFound`` at another site; ``Erased``;
    ``PermissionDenied`` without CURATE, and for every token: it takes a person at the portal.
    """
    candidate = _taken(actor, candidate_id, version)
    errors: dict[str, list[str]] = {}
    why = _reason(reason, errors)
    if not identity_checked:
        errors["identity_checked"] = [
            "Look at the whole picture, edges too. Where anything names the patient, reject it."
        ]
    chosen = _chosen(candidate, outcome_id, errors)
    if errors or chosen is None:
        raise FieldInvalid(errors=errors)
    if image_box(candidate.image) != list(box):
        raise StateConflict(CHANGED)
    _refuse_hindered(candidate, chosen[1])
    return candidate_move(
        candidate,
        to=CandidateState.ACCEPTED,
        actor=actor,
        reason=why,
        changes={
            "box": list(box),
            "identity_checked": True,
            **_decision(actor, why),
            **labelled(*chosen),
        },
    )


@transaction.atomic
def candidate_reject(
    *, actor: Actor, candidate_id: UUID, version: int, reason: str
) -> TrainingCandidate:
    """PENDING | ACCEPTED -> REJECTED: it is in no snapshot made from now on.

    What was frozen before stays as it is. Errors as `candidate_accept`.
    """
    candidate = _taken(actor, candidate_id, version)
    errors: dict[str, list[str]] = {}
    why = _reason(reason, errors)
    if errors:
        raise FieldInvalid(errors=errors)
    return candidate_move(
        candidate,
        to=CandidateState.REJECTED,
        actor=actor,
        reason=why,
        changes={**UNDECIDED, **_decision(actor, why)},
    )


@transaction.atomic
def candidate_reopen(
    *, actor: Actor, candidate_id: UUID, version: int, reason: str
) -> TrainingCandidate:
    """REJECTED -> PENDING: to be looked at again. Errors as `candidate_accept`."""
    candidate = _taken(actor, candidate_id, version)
    errors: dict[str, list[str]] = {}
    why = _reason(reason, errors)
    if errors:
        raise FieldInvalid(errors=errors)
    if candidate.state != CandidateState.REJECTED:
        raise StateConflict("Only what was rejected is opened again.")
    return candidate_move(
        candidate,
        to=CandidateState.PENDING,
        actor=actor,
        reason=why,
        changes={**UNDECIDED, **(UNLABELLED if candidate.conflict else {})},
    )


def curation_lock(site_id: UUID) -> None:
    """One decision at a time at a site: of two pictures that look the same and have different
    labels the second to be accepted sees the first. A freeze waits for it too."""
    advisory_lock("curation", str(site_id), wait=True)


def _taken(actor: Actor, candidate_id: UUID, version: int) -> TrainingCandidate:
    """The candidate under its lock, as the person saw it."""
    actor.require(Capability.CURATE)
    if actor.user_id is None or actor.token_id is not None:
        raise PermissionDenied("Deciding about an image takes a person at the portal.")
    curation_lock(actor.own_site)
    own = TrainingCandidate.objects.filter(image__case__site_id=actor.own_site)
    case_id = own.filter(pk=candidate_id).values_list("image__case_id", flat=True).first()
    if case_id is None:
        raise NotFound()
    # The case before the candidate, as outcomes and erasures lock them.
    case_locked(actor=actor, case_id=case_id)
    locked = own.select_for_update(no_key=True, of=("self",))
    candidate = locked.select_related("image__case__patient").get(pk=candidate_id)
    if candidate.version != version:
        raise StateConflict(CHANGED)
    return candidate


def _decision(actor: Actor, reason: str) -> dict[str, Any]:
    return {"decided_by_id": actor.user_id, "decided_at": clock_now(), "reason": reason}


def _reason(value: str, errors: dict[str, list[str]]) -> str:
    try:
        return reason_required(value)
    except FieldInvalid as error:
        errors |= error.errors or {}
        return ""


def _chosen(
    candidate: TrainingCandidate, outcome_id: UUID | None, errors: dict[str, list[str]]
) -> tuple[FindingOutcome, str] | None:
    """The outcome the label comes from, and the label."""
    options = candidate_options(candidate)
    if candidate.conflict:
        options = [outcome for outcome in options if outcome.pk == outcome_id]
        if not options:
            errors["outcome"] = ["Say which finding the picture shows, or reject it."]
            return None
    if not options:
        raise StateConflict(CHANGED)
    label = training_label(Pathology(options[0].pathology))
    assert label is not None
    return options[0], label.value


def _refuse_hindered(candidate: TrainingCandidate, label: str) -> None:
    looks = lookalikes_of(candidate)
    told = hindrances(candidate, looks)
    if not candidate.label:
        # What was chosen just now may contradict a picture that looks the same.
        told.extend(contradiction(look) for look in looks if look.contradicts(label))
    if told:
        raise StateConflict(" ".join(told))


def candidate_picture(*, actor: Actor, image: Image, box: Sequence[int]) -> bytes:
    """The frame within ``box`` as a PNG with the pixels that the model reads and no metadata;
    audited as a view. ``Erased`` where the patient's data was erased."""
    return crop(image_preview(actor=actor, image=image, frame=image.frame), box)


def crop(png: bytes, box: Sequence[int]) -> bytes:
    """Part of a PNG that we have drawn ourselves. Raises ``ValueError`` where the box reaches
    beyond the picture: it is not the one the box was told of."""
    with Raster.open(io.BytesIO(png), formats=["PNG"]) as picture:
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 <= picture.width and 0 <= y0 < y1 <= picture.height):
            raise ValueError("the box reaches beyond the picture")
        part = picture.crop((x0, y0, x1, y1))
    part.info.clear()
    buffer = io.BytesIO()
    part.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
