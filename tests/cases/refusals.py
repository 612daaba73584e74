"""Submitting what must be refused, and seeing that nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from cases import errors
from cases.models import (
    AuditEvent,
    Blob,
    BlobChunk,
    Case,
    Finding,
    Frame,
    Image,
    Job,
    Patient,
    Submission,
)
from tests.factories import live_model, make_actor, submit

STORED = (Patient, Case, Finding, Submission, Image, Frame, Job, Blob, BlobChunk)


def stored() -> dict[str, int]:
    return {model.__name__: model.objects.count() for model in STORED}


def refused(error: type[errors.UserFacingError], **kwargs: Any) -> errors.UserFacingError:
    """Submit, expect `error`, and see that nothing is left behind: no row, no byte, no audit."""
    actor = kwargs.pop("actor", None) or make_actor()
    live_model()
    before, trail = stored(), AuditEvent.objects.count()
    with pytest.raises(error) as caught:
        submit(actor=actor, **kwargs)
    assert stored() == before
    assert AuditEvent.objects.count() == trail
    return caught.value
