"""Model versions: installing the one that ships (the rest of their life is a later chapter)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from cases.access import Actor, ActorKind, Capability
from cases.errors import PermissionDenied, StateConflict
from cases.models import ModelEvent, ModelVersion
from cases.services.audit import audit_record
from cases.states import MODEL, ModelState
from cases.storage import store_once


def _model_move(
    model: ModelVersion, *, to: ModelState, actor: Actor, reason: str = ""
) -> ModelVersion:
    source = ModelState(model.state)
    if not MODEL.allows(source, to):
        raise StateConflict(f"A model cannot go from {source} to {to}.")
    with transaction.atomic():
        moved = ModelVersion.objects.filter(pk=model.pk, state=source).update(state=to)
        if not moved:
            raise StateConflict()
        _event(model, source=source, to=to, actor=actor, reason=reason)
    model.refresh_from_db()
    return model


def _event(
    model: ModelVersion, *, source: ModelState | None, to: ModelState, actor: Actor, reason: str
) -> None:
    ModelEvent.objects.create(
        model_version=model,
        from_state=source.value if source else "",
        to_state=to.value,
        actor=actor.label,
        reason=reason,
    )
    audit_record(
        actor=actor,
        action=f"model.{to.value.lower()}",
        object_type="model",
        object_id=model.pk,
        changed_fields=["state"],
        detail={"sha256": model.sha256, "reason": reason},
    )


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
    digest = hashlib.sha256(weights).hexdigest()
    if card.get("weights", {}).get("sha256") != digest:
        raise ValueError("the model file does not match its card (sha256)")
    known = ModelVersion.objects.filter(sha256=digest).first()
    if known is not None:
        return known, False
    storage_name = f"models/{digest}.safetensors"
    store_once(storage_name, ContentFile(weights))
    active = ModelVersion.objects.select_for_update().filter(state=ModelState.ACTIVE).first()
    replaces = active is None or active.card.get("origin") == "shipped"
    if active is not None and replaces:
        _model_move(active, to=ModelState.RETIRED, actor=actor, reason="newer shipped model")
    state = ModelState.ACTIVE if replaces else ModelState.CANDIDATE
    try:
        model = ModelVersion.objects.create(
            version=str(card["version"]),
            sha256=digest,
            size=len(weights),
            storage_name=storage_name,
            card={**card, "origin": "shipped"},
            state=state,
        )
    except IntegrityError as error:
        raise StateConflict(f"A model named {card['version']} exists already.") from error
    _event(model, source=None, to=state, actor=actor, reason="ships with the project")
    return model, True
