"""Model versions: the one that ships, and candidates with the verdict of their gate."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from cases.access import Actor, ActorKind, Capability
from cases.errors import NotFound, PermissionDenied, StateConflict
from cases.models import GateVerdict, ModelVersion
from cases.services.audit import audit_record
from cases.services.model_moves import model_event, model_life_lock, model_move
from cases.states import ModelState
from cases.storage import store_once
from cases.vocabulary import GateState


@transaction.atomic
def shipped_model_install(
    *, actor: Actor, weights: bytes, card: Mapping[str, Any]
) -> tuple[ModelVersion, bool]:
    """Register the model that ships with the project as ACTIVE, retiring an older shipped one.

    Only the actor `system` may: every other model starts as CANDIDATE. A model known by its
    SHA-256 is left as it is, so installing twice, or after a rollback, changes nothing. An
    ACTIVE model that came from training here stays ACTIVE, and the shipped one waits as a
    CANDIDATE. Returns (model, whether it is new). Raises ``ValueError`` where the card's
    ``weights.sha256`` is not that of the bytes.
    """
    if actor.kind is not ActorKind.SYSTEM:
        raise PermissionDenied("Only the service itself installs the model that ships.")
    actor.require(Capability.PROMOTE)
    digest = _stored(weights, card)
    at = model_life_lock()
    known = ModelVersion.objects.filter(sha256=digest).first()
    if known is not None:
        return known, False
    active = ModelVersion.objects.select_for_update().filter(state=ModelState.ACTIVE).first()
    replaces = active is None or active.card.get("origin") == "shipped"
    if active is not None and replaces:
        model_move(active, to=ModelState.RETIRED, actor=actor, at=at, reason="newer shipped model")
    state = ModelState.ACTIVE if replaces else ModelState.CANDIDATE
    model = _create(weights, digest, card, origin="shipped", state=state)
    model_event(model, source=None, to=state, actor=actor, at=at, reason="ships with the project")
    return model, True


@transaction.atomic
def model_candidate_register(
    *,
    actor: Actor,
    weights: bytes,
    card: Mapping[str, Any],
    gate: Mapping[str, Any] | None = None,
    origin: str = "training",
    reason: str = "",
) -> tuple[ModelVersion, bool]:
    """Register a model as CANDIDATE, with the verdict of its gate where one was run.

    ``gate``: {"state": a `GateState`, "limits": [{…}], "plan_sha256": hex}. A model known by its
    SHA-256 is left as it is, so doing it twice changes nothing. Returns (model, whether it is
    new). Raises ``PermissionDenied`` without TRAIN, ``ValueError`` where the card's
    ``weights.sha256`` is not that of the bytes or the gate is not one, ``StateConflict`` where
    another model has its name.
    """
    actor.require(Capability.TRAIN)
    digest = _stored(weights, card)
    at = model_life_lock()
    known = ModelVersion.objects.filter(sha256=digest).first()
    if known is not None:
        return known, False
    model = _create(weights, digest, card, origin=origin, state=ModelState.CANDIDATE)
    told = reason or f"came from {origin}"
    model_event(model, source=None, to=ModelState.CANDIDATE, actor=actor, at=at, reason=told[:500])
    if gate is not None:
        _gate_create(actor, model, gate)
    return model, True


@transaction.atomic
def model_gate_record(*, actor: Actor, model_id: UUID, gate: Mapping[str, Any]) -> GateVerdict:
    """The verdict of a gate for a CANDIDATE or SHADOW model that has none yet; it stays so.

    Raises as `model_candidate_register` does, ``NotFound``, and ``StateConflict`` for a model
    that has its verdict already or is past being a candidate.
    """
    actor.require(Capability.TRAIN)
    model_life_lock()
    model = ModelVersion.objects.filter(pk=model_id).first()
    if model is None:
        raise NotFound()
    if model.state not in (ModelState.CANDIDATE, ModelState.SHADOW):
        raise StateConflict("Only a candidate or a model in shadow gets a gate's verdict.")
    if GateVerdict.objects.filter(pk=model.pk).exists():
        raise StateConflict("This model has its verdict already.")
    return _gate_create(actor, model, gate)


def _stored(weights: bytes, card: Mapping[str, Any]) -> str:
    """SHA-256 of the weights, which are stored: before the lock, since it takes seconds."""
    digest = hashlib.sha256(weights).hexdigest()
    if card.get("weights", {}).get("sha256") != digest:
        raise ValueError("the model file does not match its card (sha256)")
    store_once(_storage_name(digest), ContentFile(weights))
    return digest


def _storage_name(digest: str) -> str:
    return f"models/{digest}.safetensors"


def _create(
    weights: bytes, digest: str, card: Mapping[str, Any], *, origin: str, state: ModelState
) -> ModelVersion:
    try:
        with transaction.atomic():
            return ModelVersion.objects.create(
                version=str(card["version"]),
                sha256=digest,
                size=len(weights),
                storage_name=_storage_name(digest),
                # Whatever a file says of itself: only the service's own start ships a model.
                card={**card, "origin": origin},
                state=state,
            )
    except IntegrityError as error:
        raise StateConflict(f"A model named {card['version']} exists already.") from error


def _gate_create(actor: Actor, model: ModelVersion, gate: Mapping[str, Any]) -> GateVerdict:
    state, plan = GateState(gate["state"]), str(gate["plan_sha256"])
    limits = gate["limits"]
    if not isinstance(limits, list) or not all(isinstance(limit, dict) for limit in limits):
        raise ValueError("a gate's limits are a list of objects")
    if not re.fullmatch(r"[0-9a-f]{64}", plan):
        raise ValueError("a gate names its plan by a SHA-256")
    verdict = GateVerdict.objects.create(
        model_version=model, state=state.value, limits=limits, plan_sha256=plan
    )
    audit_record(
        actor=actor,
        action="model.gated",
        object_type="model",
        object_id=model.pk,
        detail={"gate": state.value, "limits": len(limits), "plan_sha256": plan},
        every_site=True,
    )
    return verdict
