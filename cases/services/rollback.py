"""Back to a model that was live before, and turning a model down."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef

from cases import queue
from cases.access import Actor, Capability
from cases.errors import NotFound, StateConflict
from cases.models import Job, ModelVersion
from cases.services.model_files import model_file_verify
from cases.services.model_moves import model_life_lock, model_move
from cases.services.moves import jobs_move, jobs_record
from cases.services.persons import person_required, reason_required
from cases.services.promotion import active_require, model_make_live
from cases.services.shadow_jobs import shadow_jobs_cancel
from cases.states import JOB, JobState, ModelState
from cases.vocabulary import JobKind


def model_roll_back(
    *, actor: Actor, model_id: UUID, reason: str, expected_active: UUID | None
) -> ModelVersion:
    """RETIRED -> ACTIVE for this model and ACTIVE -> RETIRED for the live one, in one step.

    For a person with PROMOTE: going back to what has served takes one person, because it must
    be quick. Images that still wait for the model rolled back from are answered by this one;
    what is being read is finished (tried again, it is by this one: `requeues.job_requeue`), and
    stored results never change. Raises as `promotion.promotion_approve` does.
    """
    told = reason_required(reason)
    person_required(actor, Capability.PROMOTE)
    model_file_verify(actor=actor, model=_model(model_id))
    with transaction.atomic():
        at = model_life_lock()
        model = _model(model_id)
        if model.state != ModelState.RETIRED:
            raise StateConflict(
                f"{model.version} is {model.state.lower()}: only a retired model comes back."
            )
        active = active_require(expected_active)
        model_make_live(actor=actor, model=model, at=at, reason=told)
        if active is not None:
            _waiting_to(actor, active, model)
    return model


def _waiting_to(actor: Actor, source: ModelVersion, model: ModelVersion) -> None:
    """Let images that wait for ``source`` be answered by ``model``: nobody wants its answers now.

    One that waits for both is called off for ``source``.
    """
    waiting = Job.objects.filter(
        kind=JobKind.INFERENCE, state=JobState.PENDING, model_version=source
    )
    twin = Job.objects.filter(
        kind=JobKind.INFERENCE,
        state__in=JOB.active,
        model_version=model,
        image=OuterRef("image"),
        frame=OuterRef("frame"),
    )
    twins = list(waiting.filter(Exists(twin)).values_list("pk", flat=True))
    jobs_move(
        twins,
        to=JobState.CANCELLED,
        sources=frozenset({JobState.PENDING}),
        actor=actor,
        reason=f"waits for {model.version} already",
    )
    rows = list(waiting.select_for_update(skip_locked=True).order_by("pk"))
    Job.objects.filter(pk__in=[job.pk for job in rows]).update(model_version=model)
    jobs_record(
        rows,
        {job.pk: job.state for job in rows},
        actor=actor,
        reason=f"rolled back: {model.version} answers instead of {source.version}",
    )
    queue.ring_on_commit(kind=JobKind.INFERENCE, job_ids=[job.pk for job in rows])


@transaction.atomic
def model_reject(*, actor: Actor, model_id: UUID, reason: str) -> ModelVersion:
    """CANDIDATE | SHADOW -> REJECTED, for ever, by a person with PROMOTE.

    What it had to do in shadow is called off. ``StateConflict`` while a request for it is open
    (decide that first) and from any other state.
    """
    told = reason_required(reason)
    person_required(actor, Capability.PROMOTE)
    at = model_life_lock()
    model = _model(model_id)
    if model.promotion_requests.filter(decision="").exists():
        raise StateConflict("A request for this model is open. Decline it first.")
    shadow_jobs_cancel(actor=actor, model=model, reason="the model was turned down")
    return model_move(model, to=ModelState.REJECTED, actor=actor, at=at, reason=told)


def _model(model_id: UUID) -> ModelVersion:
    model = ModelVersion.objects.filter(pk=model_id).first()
    if model is None:
        raise NotFound()
    return model
