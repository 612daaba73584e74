"""What readings, outcomes and corrections share: the case under its lock, reasons as people type
them."""

from __future__ import annotations

import re
from uuid import UUID

from cases.access import Actor
from cases.errors import Erased, FieldInvalid, NotFound
from cases.models import Case, Finding, Image, Patient

MAX_REASON = 500
# Control characters but tab and line end: no text a person typed.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def text_check(value: str, *, name: str, limit: int) -> str:
    """Free text, trimmed, its lines ended alike. ``FieldInvalid`` beyond ``limit`` or controls."""
    text = value.replace("\r\n", "\n").strip()
    if len(text) > limit or _CONTROL.search(text):
        raise FieldInvalid(errors={name: [f"At most {limit} characters of plain text."]})
    return text


def reason_required(value: str, *, name: str = "reason") -> str:
    """A reason for something that stays in the trail. ``FieldInvalid`` where there is none."""
    text = text_check(value, name=name, limit=MAX_REASON)
    if not text:
        raise FieldInvalid(errors={name: ["Say why, in a sentence."]})
    return text


def case_locked(*, actor: Actor, case_id: UUID) -> Case:
    """The case under its lock, for the rest of the transaction.

    ``NotFound`` at another site, ``Erased`` where the patient's data was erased.
    """
    cases = Case.objects.select_for_update(no_key=True).filter(site_id=actor.own_site)
    case = cases.filter(pk=case_id).first()
    if case is None:
        raise NotFound()
    # Asked after the lock: an erasure changes every case of its patient.
    if case.patient.erased_at is not None:
        raise Erased()
    return case


def image_kept(image_id: UUID) -> None:
    """Hold an image, for the rest of the transaction, against an erasure of its patient's data.

    Raises ``Erased`` where that has happened.
    """
    list(Image.objects.select_for_update(no_key=True).filter(pk=image_id).values_list("pk"))
    # Asked after the lock.
    if Patient.objects.filter(cases__images=image_id, erased_at__isnull=False).exists():
        raise Erased()


def finding_of(case: Case, finding_id: UUID | None) -> Finding | None:
    """The finding of this case; None for the case as a whole. ``NotFound`` for another case's."""
    if finding_id is None:
        return None
    finding = Finding.objects.filter(pk=finding_id, case=case).first()
    if finding is None:
        raise NotFound()
    return finding
