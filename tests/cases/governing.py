"""Models, people and requests for tests of a model's life, made through the services."""

from __future__ import annotations

import hashlib
from typing import Any

from cases.access import SYSTEM, Actor, Role
from cases.models import ModelVersion, PromotionRequest, Site
from cases.services.learning import model_candidate_register
from cases.services.promotion import promotion_approve, promotion_request
from cases.states import ModelState
from tests.factories import make_actor, unique

PLAN = "ab" * 32
PASSED = {
    "state": "passed",
    "limits": [{"name": "sensitivity", "state": "passed", "limit": 0.9, "value": 0.94}],
    "plan_sha256": PLAN,
}


def gate(state: str = "passed") -> dict[str, Any]:
    return {**PASSED, "state": state}


def candidate(
    verdict: str | None = "passed", *, weights: bytes | None = None, origin: str = "training"
) -> ModelVersion:
    """A CANDIDATE whose bytes are no network, with such a verdict."""
    data = weights if weights is not None else f"weights {unique()}".encode()
    card = {
        "version": f"candidate-{unique()}",
        "weights": {"sha256": hashlib.sha256(data).hexdigest()},
        "classes": ["benign", "malignant", "normal"],
    }
    model, is_new = model_candidate_register(
        actor=SYSTEM,
        weights=data,
        card=card,
        gate=gate(verdict) if verdict else None,
        origin=origin,
    )
    assert is_new
    return model


def admin(site: Site | None = None) -> Actor:
    return make_actor(roles=[Role.ADMIN], site=site)


def approver(site: Site | None = None) -> Actor:
    return make_actor(roles=[Role.APPROVER], site=site)


def asked(
    model: ModelVersion, target: ModelState = ModelState.ACTIVE, *, by: Actor | None = None
) -> PromotionRequest:
    return promotion_request(
        actor=by or admin(), model_id=model.pk, target=target, reason="It scored better."
    )


def live_id() -> Any:
    return ModelVersion.objects.filter(state="ACTIVE").values_list("pk", flat=True).first()


def approved(request: PromotionRequest, *, by: Actor | None = None) -> PromotionRequest:
    return promotion_approve(
        actor=by or approver(),
        request_id=request.pk,
        reason="I looked at the figures.",
        expected_active=live_id(),
    )


def promoted(model: ModelVersion, target: ModelState = ModelState.ACTIVE) -> ModelVersion:
    """``model`` as ``target``, asked for by one person and approved by another."""
    approved(asked(model, target))
    model.refresh_from_db()
    return model


def damage(model: ModelVersion) -> None:
    """Other bytes of the same size in the place of the stored ones."""
    from cases.models import BlobChunk

    chunk = BlobChunk.objects.filter(blob_id=model.storage_name).order_by("index").first()
    assert chunk is not None
    data = bytes(chunk.data)
    BlobChunk.objects.filter(pk=chunk.pk).update(data=bytes([data[0] ^ 1]) + data[1:])
