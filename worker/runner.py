"""The loop of an inference worker: claim what waits, let the engine answer, finish by the fence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.conf import settings
from structlog.contextvars import bound_contextvars

from cases.access import Actor, ActorKind
from cases.selectors.learning import model_of
from cases.services.jobs import live_model
from cases.services.leases import (
    Claim,
    engine_jobs_claim,
    job_fail,
    jobs_heartbeat,
    jobs_release,
)
from cases.services.model_files import model_fault_note
from cases.services.replays import replay_store
from cases.services.results import Answer, result_store
from cases.services.shadow_results import shadow_result_store
from cases.storage import read_bytes
from cases.vocabulary import JobKind, ModelFaultCode
from worker.answers import AnswerInvalidError, answer_from
from worker.engine import EngineFaultError, EngineOptions, EngineProcess
from worker.model_store import ModelDamagedError, forget, local_model
from worker.sweeping import sweep_when_due

if TYPE_CHECKING:
    from cases.models import ModelVersion

log = structlog.get_logger(__name__)

# A model that cannot be loaded is tried again after this.
LOAD_PAUSE = timedelta(seconds=10)
# Only jobs of another model than the live one get here: that one is loaded before any claim.
MAX_PUT_OFF = 30
# Somebody waits for a replay's finding, and no reading depends on it; nor on a job in shadow.
MAX_ASIDE_PUT_OFF = 3
ASIDE = (JobKind.REPLAY, JobKind.SHADOW)
# What people are told. The particulars (paths, sizes) are in the worker's log only.
DETAILS = {
    "engine_crashed": "The model's process ended while it read this image.",
    "engine_timeout": "The model took too long over this image and was ended.",
    "engine_memory": "The model used too much memory on this image and was ended.",
    "engine_answer_invalid": "The model gave no usable answer for this image.",
    "image_unreadable": "The stored image could not be decoded.",
    "model_unavailable": "The model this job was made for cannot be loaded. Run it again.",
    "storage_damaged": "The stored image is missing or damaged.",
}
# Running it again would read the image with another model: no replay.
REPLAY_DETAILS = DETAILS | {
    "model_unavailable": (
        "The model that gave this answer cannot be loaded, so the answer cannot be computed again "
        "now. The stored answer stands; tell whoever runs the service."
    ),
}


def engine_options() -> EngineOptions:
    return EngineOptions(
        device=settings.BCWEB_DEVICE,
        kind=settings.BCWEB_ENGINE,
        threads=settings.BCWEB_THREADS,
        start_s=settings.BCWEB_ENGINE_START_SECONDS,
        batch_s=settings.BCWEB_BATCH_SECONDS,
        memory_mb=settings.BCWEB_ENGINE_MEMORY_MB,
    )


class Runner:
    """One per worker process. ``should_stop`` is asked between batches."""

    def __init__(self, *, name: str, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.actor = Actor(kind=ActorKind.WORKER, label=name)
        self.engine = EngineProcess(engine_options())
        self.should_stop = should_stop
        # All this process has claimed and not finished: their leases are kept together.
        self._held: dict[UUID, Claim] = {}
        self._next_heartbeat = 0.0
        # What readings are made with: replays and shadows must not drive it out of the engine.
        self.reading: ModelVersion | None = None

    def warm_up(self, model: ModelVersion) -> str:
        """Load ``model`` before the first job; the engine's name. ``EngineFaultError`` if not."""
        self._load(model)
        self.reading = model
        return self.engine.engine

    def drain(self) -> int:
        """Work until nothing waits or the worker must stop. Returns how many jobs were taken.

        Takes nothing before the live model is loaded: a worker that cannot work must not hold
        jobs that another one could answer. ``EngineFaultError`` where it does not load.
        """
        taken = 0
        self.warm_up(live_model())
        while not self.should_stop():
            claims = engine_jobs_claim(actor=self.actor, limit=settings.BCWEB_BATCH)
            if not claims:
                break
            taken += len(claims)
            self.process(claims)
        return taken

    def process(self, claims: Sequence[Claim]) -> None:
        """Answer one batch. A batch that kills the engine is repeated one by one."""
        sweep_when_due()
        self._held = {claim.job_id: claim for claim in claims}
        self._next_heartbeat = time.monotonic() + settings.BCWEB_LEASE_SECONDS / 3
        try:
            self._process(claims)
        finally:
            self._held = {}

    def _process(self, claims: Sequence[Claim]) -> None:
        ready = [(claim, data) for claim in claims if (data := self._bytes(claim)) is not None]
        if not ready:
            return
        model = model_of(model_id=claims[0].model_version_id)
        try:
            self._load_for(claims[0].kind, model)
        except EngineFaultError as fault:
            # Not the pictures' fault: they wait for a worker that can load the model.
            log.error("model_not_loaded", model=model.version, code=fault.code, error=str(fault))
            self._put_off([claim for claim, _ in ready], fault.code)
            return
        try:
            self._answer(model, ready)
        except EngineFaultError as fault:
            log.warning("batch_fault", code=fault.code, error=str(fault), jobs=len(ready))
            if len(ready) == 1:
                self._fail(ready[0][0], fault.code, transient=True)
            else:
                self._one_by_one([claim for claim, _ in ready])

    def _put_off(self, claims: Sequence[Claim], reason: str) -> None:
        """Give the jobs back for a while; those put off too often fail with their reason."""
        most = dict.fromkeys(ASIDE, MAX_ASIDE_PUT_OFF)
        late = [claim for claim in claims if claim.attempt >= most.get(claim.kind, MAX_PUT_OFF)]
        for claim in late:
            self._fail(claim, "model_unavailable", transient=False)
        rest = [claim for claim in claims if claim not in late]
        jobs_release(actor=self.actor, claims=rest, reason=reason, pause=LOAD_PAUSE)

    def _one_by_one(self, claims: Sequence[Claim]) -> None:
        """Find the culprit: its batch-mates get their answers."""
        for index, claim in enumerate(claims):
            if self.should_stop():
                rest = claims[index:]
                jobs_release(actor=self.actor, claims=rest, reason="the worker is stopping")
                return
            sweep_when_due()
            self._held = {mate.job_id: mate for mate in claims[index:]}
            if claim.job_id in jobs_heartbeat(claims=claims[index:]):
                self._process([claim])

    def _bytes(self, claim: Claim) -> bytes | None:
        self._keep()
        try:
            return read_bytes(claim.storage_name)
        except OSError as error:
            log.error("stored_bytes_damaged", job_id=str(claim.job_id), error=str(error))
            self._fail(claim, "storage_damaged", transient=False)
            return None

    def _load_for(self, kind: JobKind, model: ModelVersion) -> None:
        """Load the model of a batch. The engine lets go of the model used longest ago: asking for
        the one of the readings first makes that another one."""
        if kind not in ASIDE:
            self._load(model)
            self.reading = model
            return
        if self.reading is not None:
            self._load(self.reading)
        self._load(model)

    def _load(self, model: ModelVersion) -> None:
        try:
            path = local_model(model)
        except OSError as error:
            if isinstance(error, ModelDamagedError):
                self._note_fault(model, ModelFaultCode.FILE_DAMAGED)
            raise EngineFaultError("model_unavailable", str(error)) from error
        try:
            self.engine.load(model.sha256, path, self._keep)
        except EngineFaultError as fault:
            if fault.code == "model_unavailable":
                # Perhaps only the local copy is bad: fetch it again next time.
                forget(model)
                self._note_fault(model, ModelFaultCode.NOT_LOADABLE)
            raise

    def _note_fault(self, model: ModelVersion, code: ModelFaultCode) -> None:
        """Tell the model's page: the engine keeps what it has loaded, this one is not among it."""
        model_fault_note(actor=self.actor, model=model, code=code)

    def _answer(self, model: ModelVersion, ready: Sequence[tuple[Claim, bytes]]) -> None:
        pictures = [data for _, data in ready]
        answers = self.engine.predict(model.sha256, pictures, self._keep)
        for (claim, _), (answer, heatmap) in zip(ready, answers, strict=True):
            with bound_contextvars(request_id=claim.request_id, job_id=str(claim.job_id)):
                self._finish(claim, answer, heatmap)

    def _finish(self, claim: Claim, raw: dict[str, Any], heatmap: bytes | None) -> None:
        """Store one answer. One that makes no sense fails its own job, not its batch-mates'."""
        if raw.get("error") == "image_unreadable":
            self._fail(claim, "image_unreadable", transient=False)
            return
        try:
            answer = answer_from(raw, heatmap)
        except AnswerInvalidError as error:
            log.error("engine_answer_invalid", error=str(error))
            self._fail(claim, "engine_answer_invalid", transient=False)
            return
        if claim.kind is JobKind.REPLAY:
            self._store_replay(claim, answer)
            return
        if claim.kind is JobKind.SHADOW:
            self._store_shadow(claim, answer)
            return
        stored = result_store(
            actor=self.actor, job_id=claim.job_id, attempt=claim.attempt, answer=answer
        )
        log.info(
            "job_answered" if stored else "job_fenced_out",
            attempt=claim.attempt,
            outcome=answer.outcome.value,
            duration_ms=round(answer.duration_ms, 1),
        )

    def _store_replay(self, claim: Claim, answer: Answer) -> None:
        replay = replay_store(
            actor=self.actor, job_id=claim.job_id, attempt=claim.attempt, answer=answer
        )
        if replay is None:
            log.info("job_fenced_out", attempt=claim.attempt)
            return
        # A result that does not come out again is for the operator to look at.
        tell = log.info if replay.equal else log.warning
        names = [difference["what"] for difference in replay.differences]
        tell("result_replayed", result_id=str(replay.result_id), equal=replay.equal, differs=names)

    def _store_shadow(self, claim: Claim, answer: Answer) -> None:
        stored = shadow_result_store(
            actor=self.actor, job_id=claim.job_id, attempt=claim.attempt, answer=answer
        )
        # Whether it agrees is for the model's page, not for a log beside the job's.
        log.info("shadow_answered" if stored else "job_fenced_out", attempt=claim.attempt)

    def _fail(self, claim: Claim, code: str, *, transient: bool) -> None:
        state = job_fail(
            actor=self.actor,
            job_id=claim.job_id,
            attempt=claim.attempt,
            code=code,
            detail=(REPLAY_DETAILS if claim.kind is JobKind.REPLAY else DETAILS)[code],
            transient=transient,
        )
        log.warning(
            "job_attempt_failed",
            job_id=str(claim.job_id),
            request_id=claim.request_id,
            code=code,
            attempt=claim.attempt,
            state=state,
        )

    def _keep(self) -> None:
        """Extend the leases now and then while the engine works."""
        if self._held and time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + settings.BCWEB_LEASE_SECONDS / 3
            jobs_heartbeat(claims=list(self._held.values()))
