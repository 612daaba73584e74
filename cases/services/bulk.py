"""One act on many cases: read their images again, or call their readings off.

First a plan, which says in numbers what would be done and to which cases nothing can be; then the
act, which does that plan and no other. Each case is a transaction of its own: what cannot be done
to one keeps no other from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.db import transaction

from cases.access import Actor, Capability
from cases.errors import (
    Erased,
    FieldInvalid,
    NotFound,
    Overloaded,
    PermissionDenied,
    StateConflict,
    UserFacingError,
)
from cases.models import Case, Job
from cases.services.audit import audit_record
from cases.services.jobs import job_cancel, job_rerun
from cases.states import JOB, JobState
from cases.vocabulary import JobKind

MAX_CASES = 200
CHANGED = (
    "The cases have changed since the page was drawn, so nothing was done. Look at the numbers "
    "again."
)


class BulkAct(StrEnum):
    RERUN = "rerun"
    CANCEL = "cancel"


@dataclass(frozen=True)
class CasePart:
    """What the act would do to one case: to which jobs, or why to none."""

    case_id: UUID
    accession: str
    job_ids: tuple[UUID, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class BulkPlan:
    """``token`` changes whenever the act would be another one."""

    act: BulkAct
    parts: tuple[CasePart, ...]

    @property
    def doing(self) -> tuple[CasePart, ...]:
        return tuple(part for part in self.parts if part.job_ids)

    @property
    def left_out(self) -> tuple[CasePart, ...]:
        return tuple(part for part in self.parts if not part.job_ids)

    @property
    def jobs(self) -> int:
        return sum(len(part.job_ids) for part in self.parts)

    @property
    def token(self) -> str:
        done = sorted((str(part.case_id), sorted(map(str, part.job_ids))) for part in self.doing)
        return hashlib.sha256(repr((self.act.value, done)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class BulkOutcome:
    """What became of one case: how many of its images, or why none."""

    part: CasePart
    done: int = 0
    error: UserFacingError | None = None


def bulk_plan(*, actor: Actor, act: BulkAct, case_ids: Sequence[UUID]) -> BulkPlan:
    """What the act would do to these cases, in their order. Nothing is changed.

    Of each image its newest job counts: one that has ended is what is run again, one that waits
    or runs is what is called off. ``NotFound`` where one of the cases is not of the actor's site,
    ``FieldInvalid`` for none or more than ``MAX_CASES``, ``PermissionDenied`` without SUBMIT or
    OPERATE. A constant number of queries.
    """
    if not (actor.can(Capability.SUBMIT) or actor.can(Capability.OPERATE)):
        raise PermissionDenied()
    wanted = list(dict.fromkeys(case_ids))
    if not wanted:
        raise FieldInvalid("Choose at least one case.", errors={"case": ["Choose a case."]})
    if len(wanted) > MAX_CASES:
        raise FieldInvalid(f"At most {MAX_CASES} cases at once.")
    cases = Case.objects.filter(site_id=actor.own_site).select_related("patient").in_bulk(wanted)
    if len(cases) != len(wanted):
        raise NotFound()
    newest: dict[UUID, list[Job]] = {}
    jobs = Job.objects.filter(image__case__in=wanted, kind=JobKind.INFERENCE)
    for job in (
        jobs.select_related("image")
        .only("state", "image__case_id", "created_at")
        .order_by("image_id", "-created_at", "-id")
        .distinct("image_id")
    ):
        assert job.image is not None
        newest.setdefault(job.image.case_id, []).append(job)
    return BulkPlan(act, tuple(_part(act, cases[pk], newest.get(pk, [])) for pk in wanted))


def _part(act: BulkAct, case: Case, newest: Sequence[Job]) -> CasePart:
    if case.patient.erased_at is not None:
        return CasePart(case.pk, "", left_out=Erased().detail)
    active = [job.pk for job in newest if JobState(job.state) in JOB.active]
    ended = [job.pk for job in newest if JobState(job.state) in JOB.final]
    if act is BulkAct.CANCEL:
        why = "" if active else "None of its images waits or is being read."
        return CasePart(case.pk, case.accession_number, tuple(active), why)
    # Some images of a case may be run again while others still wait.
    why = "" if ended else "Its images wait or are being read already."
    return CasePart(case.pk, case.accession_number, tuple(ended), why)


def bulk_do(
    *, actor: Actor, act: BulkAct, case_ids: Sequence[UUID], token: str
) -> list[BulkOutcome]:
    """Do the plan somebody agreed to: a new job for each ended one, or each active one cancelled.

    ``StateConflict`` where the plan would be another by now, as it is after it was done: twice is
    once. Otherwise told per case, in their order; a case is done as a whole or not at all, and
    audited by itself. Once there is no room, the rest is not tried. Errors as `bulk_plan`.
    """
    plan = bulk_plan(actor=actor, act=act, case_ids=case_ids)
    if plan.token != token:
        raise StateConflict(CHANGED)
    told: list[BulkOutcome] = []
    full: Overloaded | None = None
    for part in plan.doing:
        if full is not None:
            told.append(BulkOutcome(part, error=full))
            continue
        try:
            told.append(BulkOutcome(part, done=_do(actor, act, part)))
        except UserFacingError as error:
            full = error if isinstance(error, Overloaded) else None
            told.append(BulkOutcome(part, error=error))
    return told


@transaction.atomic
def _do(actor: Actor, act: BulkAct, part: CasePart) -> int:
    # Locked in one order, so that of two such acts at once the second finds what the first did.
    for job_id in sorted(part.job_ids):
        if act is BulkAct.CANCEL:
            job_cancel(actor=actor, job_id=job_id)
        else:
            job_rerun(actor=actor, job_id=job_id)
    audit_record(
        actor=actor,
        action="case.rerun" if act is BulkAct.RERUN else "case.called_off",
        object_type="case",
        object_id=part.case_id,
        case_id=part.case_id,
        detail={"images": len(part.job_ids)},
    )
    return len(part.job_ids)
