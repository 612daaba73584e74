"""From candidate to live with two people: one asks, another one decides.

Nobody but a person at the portal may do any of this (`persons.person_required`).
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from cases import queue
from cases.access import Actor, Capability
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import GateVerdict, ModelVersion, PromotionRequest
from cases.selectors.promotion import training_ordered_by
from cases.services.audit import audit_record
from cases.services.gates import approver_require
from cases.services.model_files import model_file_verify
from cases.services.model_moves import model_life_lock, model_move
from cases.services.persons import person_required, reason_required
from cases.services.shadow_jobs import shadow_jobs_cancel
from cases.states import MODEL, ModelState
from cases.vocabulary import Decision, GateState, JobKind

TARGETS = (ModelState.SHADOW, ModelState.ACTIVE)


@transaction.atomic
def promotion_request(
    *, actor: Actor, model_id: UUID, target: ModelState, reason: str
) -> PromotionRequest:
    """Ask that a CANDIDATE (for ACTIVE also a SHADOW) model becomes ``target``; it stays as it is.

    For a person with TRAIN or PROMOTE. ``FieldInvalid`` for another target or without a reason,
    ``StateConflict`` where the gate or the state forbids it or a request is open already.
    """
    user_id = person_required(actor, Capability.TRAIN, Capability.PROMOTE)
    told = reason_required(reason)
    if target not in TARGETS:
        raise FieldInvalid(errors={"target": ["Choose shadow or live."]})
    model_life_lock()
    model = ModelVersion.objects.filter(pk=model_id).first()
    if model is None:
        raise NotFound()
    promotable_require(model, target)
    try:
        with transaction.atomic():
            request = PromotionRequest.objects.create(
                model_version=model, target=target.value, requested_by_id=user_id, reason=told
            )
    except IntegrityError as error:
        raise StateConflict(f"A request for {model.version} is open already.") from error
    _audit(actor, request, "promotion.requested", told)
    return request


def promotion_hindrance(model: ModelVersion, target: ModelState) -> str:
    """Why ``model`` cannot be asked for or made ``target`` now; "" where it can.

    A gate that failed or saw too little forbids both. A model without a verdict may go into
    shadow, where nobody sees its answers, and never live: the safer of the two rules, since a
    sentence somebody types is no evidence, and a gate can still be run on the model.
    """
    if model.state == ModelState.RETIRED or not MODEL.allows(ModelState(model.state), target):
        return f"A model that is {model.state.lower()} cannot become {target.lower()} in this way."
    verdict = GateVerdict.objects.filter(pk=model.pk).first()
    if verdict is None:
        if target is ModelState.ACTIVE:
            return "No gate was run on this model, so it cannot go live. It may go into shadow."
        return ""
    if verdict.state != GateState.PASSED:
        what = "failed" if verdict.state == GateState.FAILED else "saw too little evidence"
        return f"The gate of this model {what}, so it cannot be promoted."
    return ""


def promotable_require(model: ModelVersion, target: ModelState) -> None:
    """``StateConflict`` where `promotion_hindrance` finds one."""
    hindrance = promotion_hindrance(model, target)
    if hindrance:
        raise StateConflict(hindrance)


def promotion_approve(
    *, actor: Actor, request_id: UUID, reason: str, expected_active: UUID | None
) -> PromotionRequest:
    """Open -> approved, and the model becomes SHADOW or ACTIVE (then ACTIVE -> RETIRED).

    For a person with PROMOTE who did not ask, and whom the model's plan names where it names any.
    ``expected_active`` is the live model that the page showed (None: none). ``StateConflict`` where
    that has changed since, where the request is decided already, where the gate or the state
    forbids it, another model is in shadow, or the stored file is not the one its SHA-256 names. Of
    two approvers at once one wins. Jobs keep the model they were made for; new ones get the new
    model.
    """
    told = reason_required(reason)
    user_id = person_required(actor, Capability.PROMOTE)
    # Before the lock: it reads the whole file.
    model_file_verify(actor=actor, model=_open_request(request_id, user_id).model_version)
    with transaction.atomic():
        at = model_life_lock()
        request = _open_request(request_id, user_id)
        _trainer_refuse(request.model_version, user_id)
        active_require(expected_active)
        model, target = request.model_version, ModelState(request.target)
        promotable_require(model, target)
        approver_require(model, user_id)
        _decide(request, Decision.APPROVED, user_id, told)
        _audit(actor, request, "promotion.approved", told)
        if target is ModelState.ACTIVE:
            model_make_live(actor=actor, model=model, at=at, reason=told)
        else:
            _into_shadow(actor, model, at, told)
    return request


@transaction.atomic
def promotion_decline(*, actor: Actor, request_id: UUID, reason: str) -> PromotionRequest:
    """Open -> declined; the model stays what it is and may be asked for again.

    For a person with PROMOTE who did not ask. Raises as `promotion_approve` does.
    """
    told = reason_required(reason)
    user_id = person_required(actor, Capability.PROMOTE)
    model_life_lock()
    request = _open_request(request_id, user_id)
    _decide(request, Decision.DECLINED, user_id, told)
    _audit(actor, request, "promotion.declined", told)
    return request


@transaction.atomic
def promotion_withdraw(*, actor: Actor, request_id: UUID, reason: str) -> PromotionRequest:
    """Open -> withdrawn, by the person who asked."""
    told = reason_required(reason)
    user_id = person_required(actor, Capability.TRAIN, Capability.PROMOTE)
    model_life_lock()
    request = _open_request(request_id, None)
    if request.requested_by_id != user_id:
        raise PermissionDenied("Only the person who asked may withdraw the request.")
    _decide(request, Decision.WITHDRAWN, user_id, told)
    _audit(actor, request, "promotion.withdrawn", told)
    return request


def _trainer_refuse(model: ModelVersion, user_id: UUID) -> None:
    """``PermissionDenied`` for who ordered the training of ``model``, by hand or through a
    schedule: that is no second person, whoever asked for the promotion. Declining is theirs: it
    lets nothing go live."""
    if training_ordered_by(model=model, user_id=user_id):
        raise PermissionDenied(
            "You ordered the training of this model, or added or changed the schedule that did: "
            "another person approves what came of it."
        )


def active_require(expected_active: UUID | None) -> ModelVersion | None:
    """The ACTIVE model. ``StateConflict`` where it is not the expected one."""
    active = ModelVersion.objects.select_for_update().filter(state=ModelState.ACTIVE).first()
    if (active.pk if active else None) != expected_active:
        live = f"{active.version} is live now" if active else "no model is live now"
        raise StateConflict(
            f"The live model has changed since you opened this page: {live}. "
            "Read the page again before you decide."
        )
    return active


def model_make_live(*, actor: Actor, model: ModelVersion, at: datetime, reason: str) -> None:
    """ACTIVE -> RETIRED for the live model and ``model`` -> ACTIVE, in the caller's transaction.

    The caller holds `model_life_lock`. What the model had to do in shadow is called off.
    """
    active = ModelVersion.objects.filter(state=ModelState.ACTIVE).first()
    if active is not None:
        model_move(active, to=ModelState.RETIRED, actor=actor, at=at, reason=reason)
    shadow_jobs_cancel(actor=actor, model=model, reason="the model has gone live")
    model_move(model, to=ModelState.ACTIVE, actor=actor, at=at, reason=reason)
    # A worker that hears this loads the model before the next image needs it.
    queue.ring_on_commit(kind=JobKind.INFERENCE, job_ids=[model.pk])


def _into_shadow(actor: Actor, model: ModelVersion, at: datetime, reason: str) -> None:
    other = ModelVersion.objects.filter(state=ModelState.SHADOW).first()
    if other is not None:
        raise StateConflict(f"{other.version} is in shadow. One model at a time can be.")
    model_move(model, to=ModelState.SHADOW, actor=actor, at=at, reason=reason)


def _open_request(request_id: UUID, decider: UUID | None) -> PromotionRequest:
    """An undecided request that ``decider`` (None: whoever) did not ask for."""
    request = (
        PromotionRequest.objects.select_related("model_version", "decided_by")
        .filter(pk=request_id)
        .first()
    )
    if request is None:
        raise NotFound()
    if request.decision:
        who = request.decided_by.username if request.decided_by else ""
        raise StateConflict(f"The request was {request.decision} by {who} already.")
    if decider is not None and request.requested_by_id == decider:
        raise PermissionDenied("You asked for this yourself: a second person decides.")
    return request


def _decide(asked: PromotionRequest, decision: Decision, user_id: UUID, reason: str) -> None:
    decided = PromotionRequest.objects.filter(pk=asked.pk, decision="").update(
        decision=decision.value,
        decided_by_id=user_id,
        decision_reason=reason,
        decided_at=Now(),
    )
    if not decided:
        raise StateConflict()
    asked.refresh_from_db()


def _audit(actor: Actor, asked: PromotionRequest, action: str, reason: str) -> None:
    audit_record(
        actor=actor,
        every_site=True,
        action=action,
        object_type="model",
        object_id=asked.model_version_id,
        detail={"request": str(asked.pk), "target": asked.target, "reason": reason},
    )
