"""Whether a stored model is still the one that was registered, and noting where it is not."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from cases.access import Actor
from cases.errors import StateConflict
from cases.models import ModelFault, ModelVersion
from cases.services.audit import audit_record
from cases.storage import uploads
from cases.vocabulary import ModelFaultCode

# A worker tries again every few seconds: the page needs to hear of it once.
FAULT_PAUSE = timedelta(hours=1)
DAMAGED = (
    "The stored file of this model is missing or is not the one its SHA-256 names. It was refused, "
    "and nothing has changed."
)


def model_file_verify(*, actor: Actor, model: ModelVersion) -> None:
    """Read the stored file and compare its SHA-256; ``StateConflict`` and a noted fault if not it.

    Not inside a transaction of the caller: the note must stay when the refusal undoes the rest.
    """
    digest = hashlib.sha256()
    try:
        with uploads().open(model.storage_name, "rb") as file:
            while piece := file.read(1024 * 1024):
                digest.update(piece)
    except OSError as error:
        model_fault_note(actor=actor, model=model, code=ModelFaultCode.FILE_DAMAGED)
        raise StateConflict(DAMAGED) from error
    if digest.hexdigest() != model.sha256:
        model_fault_note(actor=actor, model=model, code=ModelFaultCode.FILE_DAMAGED)
        raise StateConflict(DAMAGED)


@transaction.atomic
def model_fault_note(*, actor: Actor, model: ModelVersion, code: ModelFaultCode) -> None:
    """Note that the file of ``model`` was refused, once an hour for each code."""
    lately = ModelFault.objects.filter(
        model_version=model, code=code.value, at__gt=Now() - FAULT_PAUSE
    )
    if lately.exists():
        return
    ModelFault.objects.create(model_version=model, code=code.value, actor=actor.label)
    audit_record(
        actor=actor,
        action="model.refused",
        object_type="model",
        object_id=model.pk,
        detail={"code": code.value, "sha256": model.sha256},
        every_site=True,
    )
