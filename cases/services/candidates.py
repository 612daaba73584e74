"""A trained model becomes a model version that waits for a decision."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from cases.access import Actor, ActorKind
from cases.errors import PermissionDenied, StateConflict
from cases.models import ModelEvent, ModelVersion
from cases.services.audit import audit_record
from cases.states import ModelState
from cases.storage import store_once


@transaction.atomic
def candidate_create(
    *, actor: Actor, weights: bytes, card: Mapping[str, Any], reason: str
) -> ModelVersion:
    """Register a trained model as CANDIDATE, its bytes in storage.

    Only workers may: nobody hands a model in by hand. The same weights again (the same data,
    recipe and seed) are the version that is known already, whatever its state. Raises
    ``ValueError`` where the card's ``weights.sha256`` is not that of the bytes, ``StateConflict``
    where another model has the card's version.
    """
    if actor.kind is not ActorKind.WORKER:
        raise PermissionDenied("Only a training makes a candidate.")
    digest = hashlib.sha256(weights).hexdigest()
    if card.get("weights", {}).get("sha256") != digest:
        raise ValueError("the model file does not match its card (sha256)")
    known = ModelVersion.objects.filter(sha256=digest).first()
    if known is not None:
        return known
    storage_name = f"models/{digest}.safetensors"
    store_once(storage_name, ContentFile(weights))
    try:
        with transaction.atomic():
            model = ModelVersion.objects.create(
                version=str(card["version"]),
                sha256=digest,
                size=len(weights),
                storage_name=storage_name,
                card={**card, "origin": "training"},
                state=ModelState.CANDIDATE,
            )
    except IntegrityError as error:
        raise StateConflict(f"A model named {card['version']} exists already.") from error
    ModelEvent.objects.create(
        model_version=model,
        from_state="",
        to_state=ModelState.CANDIDATE.value,
        actor=actor.label,
        reason=reason,
    )
    audit_record(
        actor=actor,
        action="model.candidate",
        object_type="model",
        object_id=model.pk,
        changed_fields=["state"],
        detail={"sha256": digest, "reason": reason},
    )
    return model
