"""Reading gate plans, what was judged by them, and the uses of locked sets."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Count, QuerySet

from cases.access import Actor, Capability, Role
from cases.errors import NotFound
from cases.models import GatePlan, GateVerdict, LockedSetUse, ModelVersion, TrainingRun, User
from cases.selectors.reader_first import many_answers_required
from cases.storage import read_bytes


def gate_plan_list(*, actor: Actor) -> QuerySet[GatePlan]:
    """The plans of the actor's site, newest first, for viewers of models and trainers.

    ``set_uses``: how often a model was judged on the locked set, by whatever plan.
    """
    if not actor.can(Capability.TRAIN):
        actor.require(Capability.VIEW_MODELS)
    return (
        GatePlan.objects.filter(site_id=actor.own_site)
        .select_related("locked_set")
        .annotate(set_uses=Count("locked_set__uses", distinct=True))
        .order_by("-created_at", "-id")
    )


def gate_plan_get(*, actor: Actor, plan_id: UUID) -> GatePlan:
    """One plan. ``NotFound`` at another site."""
    plan = gate_plan_list(actor=actor).filter(pk=plan_id).first()
    if plan is None:
        raise NotFound()
    return plan


def gate_plan_find(*, site_id: UUID, text: str) -> GatePlan:
    """A plan of a site by its id or its name, for commands. ``NotFound`` where there is none."""
    plans = GatePlan.objects.filter(site_id=site_id)
    try:
        plan = plans.filter(pk=UUID(text)).first()
    except ValueError:
        plan = plans.filter(name=text).first()
    if plan is None:
        raise NotFound("There is no gate plan with this id or name.")
    return plan


def locked_set_uses(*, plan: GatePlan) -> list[LockedSetUse]:
    """Every use of the plan's locked set, by whatever plan, newest first; for who sees the plan."""
    uses = LockedSetUse.objects.filter(snapshot_id=plan.locked_set_id)
    return list(uses.select_related("plan", "run__job", "run__model_version").order_by("-id"))


def approver_names(*, actor: Actor) -> list[str]:
    """User names of the site's approvers, for the plan's form."""
    actor.require(Capability.TRAIN)
    users = User.objects.filter(
        site_id=actor.own_site, is_active=True, role_rows__role=Role.APPROVER.value
    )
    return list(users.order_by("username").values_list("username", flat=True))


def verdict_of_run(run: TrainingRun) -> GateVerdict | None:
    """The verdict on a run's model; for who sees the run."""
    if run.model_version is None:
        return None
    try:
        return run.model_version.gate
    except ObjectDoesNotExist:
        return None


def judged_use(model: ModelVersion) -> LockedSetUse | None:
    """The use of a locked set that gave ``model`` its verdict, with plan and run."""
    uses = LockedSetUse.objects.filter(run__model_version=model)
    return uses.select_related("plan", "snapshot", "run__job").order_by("id").first()


def use_of_run(run: TrainingRun) -> LockedSetUse | None:
    try:
        return run.locked_use
    except ObjectDoesNotExist:
        return None


def judged_run(*, actor: Actor, model: ModelVersion) -> TrainingRun:
    """The run at the actor's site that ``model`` came of with a verdict, for who curates, trains
    or promotes.

    ``NotFound`` where the model was not judged here, or at another site; nobody who reads cases at
    a site that reads first, since the report holds single answers.
    """
    many_answers_required(actor)
    if not (actor.can(Capability.CURATE) or actor.can(Capability.PROMOTE)):
        actor.require(Capability.TRAIN)
    run = (
        TrainingRun.objects.select_related("plan__locked_set")
        .filter(model_version=model, job__site_id=actor.own_site)
        .exclude(gate_report="")
        .first()
    )
    if run is None:
        raise NotFound()
    return run


def gate_report(*, actor: Actor, model: ModelVersion) -> dict[str, Any]:
    """The whole report on ``model``, with every picture's answers. As `judged_run`."""
    run = judged_run(actor=actor, model=model)
    try:
        report: dict[str, Any] = json.loads(read_bytes(run.gate_report))
    except (OSError, ValueError) as error:
        raise NotFound("The report of this gate is damaged in storage.") from error
    return report


def judged_beside(*, actor: Actor, one: ModelVersion, other: ModelVersion) -> ModelVersion | None:
    """Which of two models was judged while the other one was live, at the actor's site, for who
    may see the comparison; None where neither was."""
    if not any(actor.can(c) for c in (Capability.CURATE, Capability.TRAIN, Capability.PROMOTE)):
        return None
    for model, beside in ((one, other), (other, one)):
        together = LockedSetUse.objects.filter(
            run__model_version=model,
            run__job__site_id=actor.own_site,
            facts__models__active__sha256=beside.sha256,
        )
        if together.exists():
            return model
    return None
