"""Withdrawing an answer that must not be used. It stays where it is, struck through."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from cases.access import Actor, Capability
from cases.errors import NotFound, PermissionDenied, StateConflict
from cases.models import Result, ResultWithdrawal
from cases.services.audit import audit_record
from cases.services.review import case_locked, reason_required


@transaction.atomic
def result_withdraw(*, actor: Actor, result_id: UUID, reason: str) -> ResultWithdrawal:
    """Result -> withdrawn, for good; the result's own row stays as it is.

    Signed readings keep naming it as an answer of record. ``FieldInvalid`` without a reason,
    ``StateConflict`` where it is withdrawn already, ``NotFound`` at another site, ``Erased``,
    ``PermissionDenied`` without OPERATE or for a token: it takes a person at the portal.
    """
    actor.require(Capability.OPERATE)
    if actor.user_id is None or actor.token_id is not None:
        raise PermissionDenied("Withdrawing an answer takes a person at the portal.")
    why = reason_required(reason)
    results = Result.objects.filter(pk=result_id, image__case__site_id=actor.own_site)
    result = results.select_related("image").defer("heatmap").first()
    if result is None:
        raise NotFound()
    case = case_locked(actor=actor, case_id=result.image.case_id)
    if ResultWithdrawal.objects.filter(result=result).exists():
        raise StateConflict("This answer was withdrawn already.")
    withdrawal = ResultWithdrawal.objects.create(
        result=result, case=case, reason=why, withdrawn_by_id=actor.user_id
    )
    withdrawal.refresh_from_db()
    audit_record(
        actor=actor,
        action="result.withdrawn",
        object_type="result",
        object_id=result.pk,
        site_id=case.site_id,
        case_id=case.pk,
    )
    return withdrawal
