"""What a finding turned out to be: added, never changed; a later one supersedes with a reason.

What it means for the images of the finding as training data follows in the same transaction.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from cases.access import Actor, Capability
from cases.errors import FieldInvalid, NotFound, StateConflict
from cases.models import Finding, FindingOutcome
from cases.services.audit import audit_record
from cases.services.candidates import candidates_refresh
from cases.services.review import MAX_REASON, case_locked, text_check
from cases.vocabulary import STABLE_MONTHS, OutcomeBasis, Pathology

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class OutcomeContent:
    """What is known, how, and (for a later one) why the earlier one no longer holds."""

    pathology: Pathology
    basis: OutcomeBasis
    stable_from: date | None = None
    stable_until: date | None = None
    reason: str = ""


def outcome_content_parse(raw: Mapping[str, Any]) -> OutcomeContent:
    """Check raw fields, the dates of a follow-up included.

    Raises ``FieldInvalid`` with all that is wrong at once: a follow-up says `benign`, names both
    dates, and spans at least ``STABLE_MONTHS`` months that have passed; another basis has none.
    """
    errors: dict[str, list[str]] = {}
    pathology = _choice(raw, "pathology", Pathology, errors)
    basis = _choice(raw, "basis", OutcomeBasis, errors)
    stable_from = _date(raw, "stable_from", errors)
    stable_until = _date(raw, "stable_until", errors)
    reason = ""
    try:
        reason = text_check(str(raw.get("reason") or ""), name="reason", limit=MAX_REASON)
    except FieldInvalid as error:
        errors |= error.errors or {}
    if not errors and basis is OutcomeBasis.FOLLOW_UP:
        _check_follow_up(pathology, stable_from, stable_until, errors)
    elif not errors and (stable_from or stable_until):
        errors["stable_from"] = ["Only a follow-up has dates between which nothing changed."]
    if errors or pathology is None or basis is None:
        raise FieldInvalid(errors=errors)
    return OutcomeContent(pathology, basis, stable_from, stable_until, reason)


@transaction.atomic
def outcome_record(
    *, actor: Actor, finding_id: UUID, content: OutcomeContent
) -> tuple[FindingOutcome, bool]:
    """Add an outcome to a finding; what was current before is superseded by it.

    The outcome that is current already (same pathology, basis and dates) is returned as it is,
    with False: sent twice is once. ``StateConflict`` where another one is current and no reason
    is given: a late repeat must not undo what was found since. ``NotFound`` at another site,
    ``Erased``, and ``PermissionDenied`` without RECORD_OUTCOMES.
    """
    actor.require(Capability.RECORD_OUTCOMES)
    finding = Finding.objects.filter(pk=finding_id, case__site_id=actor.own_site).first()
    if finding is None:
        raise NotFound()
    # One at a time for the case: the second of two at once sees the first.
    case = case_locked(actor=actor, case_id=finding.case_id)
    current = FindingOutcome.objects.filter(finding=finding, superseded_by=None).first()
    if current is not None and _same(current, content):
        return current, False
    if current is not None and not content.reason:
        raise StateConflict(
            "This finding has an outcome already. To supersede it, say why it no longer holds."
        )
    outcome = FindingOutcome.objects.create(
        case=case,
        finding=finding,
        pathology=content.pathology,
        basis=content.basis,
        stable_from=content.stable_from,
        stable_until=content.stable_until,
        supersedes=current,
        reason=content.reason if current else "",
        recorded_by_id=actor.user_id,
        recorded_by_label=actor.label,
    )
    outcome.refresh_from_db()
    _audit(actor, finding, outcome)
    candidates_refresh(actor=actor, case=case)
    return outcome, True


def _audit(actor: Actor, finding: Finding, outcome: FindingOutcome) -> None:
    audit_record(
        actor=actor,
        action="outcome.superseded" if outcome.supersedes_id else "outcome.recorded",
        object_type="finding",
        object_id=finding.pk,
        site_id=outcome.case.site_id,
        case_id=outcome.case_id,
        detail={
            "outcome": str(outcome.pk),
            "finding": finding.number,
            "pathology": outcome.pathology,
            "basis": outcome.basis,
        },
    )


def _same(known: FindingOutcome, content: OutcomeContent) -> bool:
    return (known.pathology, known.basis, known.stable_from, known.stable_until) == (
        content.pathology,
        content.basis,
        content.stable_from,
        content.stable_until,
    )


def _choice(
    raw: Mapping[str, Any], name: str, choices: type[E], errors: dict[str, list[str]]
) -> E | None:
    try:
        return choices(str(raw.get(name) or "").strip())
    except ValueError:
        errors[name] = ["Choose one of: " + ", ".join(c.value for c in choices) + "."]
        return None


def _date(raw: Mapping[str, Any], name: str, errors: dict[str, list[str]]) -> date | None:
    value = raw.get(name)
    if isinstance(value, date):
        return value
    text = str(value or "").strip()
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        errors[name] = ["Write the date as YYYY-MM-DD, for example 2024-04-30."]
        return None


def _check_follow_up(
    pathology: Pathology | None,
    stable_from: date | None,
    stable_until: date | None,
    errors: dict[str, list[str]],
) -> None:
    if pathology is not Pathology.BENIGN:
        errors["pathology"] = [
            "A follow-up without change speaks for benign, and for nothing else."
        ]
    for name, day in (("stable_from", stable_from), ("stable_until", stable_until)):
        if day is None:
            errors[name] = ["A follow-up needs its first and its last examination."]
        elif day > timezone.localdate():
            errors[name] = ["The date lies in the future."]
    if stable_from and stable_until and months_after(stable_from, STABLE_MONTHS) > stable_until:
        errors.setdefault("stable_until", []).append(
            f"At least {STABLE_MONTHS} months after the first examination."
        )


def months_after(day: date, months: int) -> date:
    """The same day so many months on; the last of its month where that has no such day."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
