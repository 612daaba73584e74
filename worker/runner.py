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
from cases.intake.files import is_full
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
from cases.services.requeues import readings_hindered
from cases.services.results import Answer, Finished, results_store
from cases.services.shadow_results import shadow_result_store
from cases.storage import StorageUnavailable, read_bytes, read_small
from cases.vocabulary import JobKind, ModelFaultCode
from worker.answers import AnswerInvalidError, answer_from
from worker.engine import EngineFaultError, EngineOptions, EngineProcess
from worker.inference_faults import DETAILS, REPLAY_DETAILS, without_database
from worker.model_store import ModelDamagedError, forget, local_model
from worker.sweeping import sweep_when_due

if TYPE_CHECKING:
    from cases.models import ModelVersion

log = structlog.get_logger(__name__)

# After so long the worker lets its other messages have their turn: sweeping and sealing go on also
# where images wait for hours.
TURN_S = 10.0
# A model that cannot be loaded is tried again after this.
LOAD_PAUSE = timedelta(seconds=10)
# Only jobs of another model than the live one get here: that one is loaded before any claim.
MAX_PUT_OFF = 30
# Somebody waits for a replay's finding, and no reading depends on it; nor on a job in shadow.
MAX_ASIDE_PUT_OFF = 3
ASIDE = (JobKind.REPLAY, JobKind.SHADOW)
STOPPING = "the worker is stopping"


def engine_options() -> EngineOptions:
    return EngineOptions(
        device=settings.BCWEB_DEVICE,
        kind=settings.BCWEB_ENGINE,
        threads=settings.BCWEB_THREADS,
        start_s=settings.BCWEB_ENGINE_START_SECONDS,
        batch_s=settings.BCWEB_BATCH_SECONDS,
        memory_mb=settings.BCWEB_ENGINE_MEMORY_MB,
    )


class WorkerStoppingError(Exception):
    """The worker was told to end, and the time it has for that is over."""


class Runner:
    """One per worker process. ``should_stop`` is asked between batches; a batch that is on goes
    on for ``BCWEB_STOP_SECONDS`` at most and is then given back."""

    def __init__(self, *, name: str, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.actor = Actor(kind=ActorKind.WORKER, label=name)
        self.engine = EngineProcess(engine_options())
        self.should_stop = should_stop
        # All this process has claimed and not finished: their leases are kept together.
        self._held: dict[UUID, Claim] = {}
        # The next batch, taken while the engine reads one: it need not wait for the database.
        self._ahead: list[Claim] = []
        self._may_look_ahead = False
        # Whether the last `drain` ended while more seemed to wait.
        self.more_waits = False
        self._next_heartbeat = 0.0
        self._stop_by: float | None = None
        # What readings are made with: replays and shadows must not drive it out of the engine.
        self.reading: ModelVersion | None = None

    def warm_up(self, model: ModelVersion) -> str:
        """Load ``model`` before the first job; the engine's name. ``EngineFaultError`` if not."""
        self._load(model)
        self.reading = model
        return self.engine.engine

    def drain(self) -> int:
        """Work until nothing waits, the turn is over (``more_waits``), or the worker must stop.
        Returns how many jobs were taken.

        Takes nothing before the live model is loaded: a worker that cannot work must not hold
        jobs that another one could answer. ``EngineFaultError`` where it does not load,
        ``WorkerStoppingError`` where it does not within the time the worker has to end.
        """
        taken = 0
        self.more_waits = False
        if not self.should_stop():  # Else an engine would be started for nothing.
            self.warm_up(live_model())
        until = time.monotonic() + TURN_S
        try:
            while not self.should_stop():
                claims = self._next_batch()
                if not claims:
                    break
                taken += len(claims)
                # Where the batch is not full, nothing else waited a moment ago.
                full = len(claims) == settings.BCWEB_BATCH
                self.more_waits = full and time.monotonic() >= until
                self._may_look_ahead = full and not self.more_waits
                self.process(claims)
                if self.more_waits:
                    break
        finally:
            self._release_ahead(STOPPING if self.should_stop() else "the worker broke off")
        return taken

    def _next_batch(self) -> list[Claim]:
        if self._ahead and readings_hindered(model_id=self._ahead[0].model_version_id):
            # What nobody has begun to read keeps to a suspension and to a rollback.
            self._release_ahead("answers were suspended, or their model was taken back")
        if self._ahead:
            claims, self._ahead = self._ahead, []
            return claims
        return engine_jobs_claim(actor=self.actor, limit=settings.BCWEB_BATCH)

    def process(self, claims: Sequence[Claim]) -> None:
        """Answer one batch. A batch that kills the engine is repeated one by one."""
        sweep_when_due()
        self._held = {claim.job_id: claim for claim in claims}
        self._next_heartbeat = time.monotonic() + settings.BCWEB_LEASE_SECONDS / 3
        try:
            self._process(claims)
        except WorkerStoppingError:
            # Those answered by now are not moved: they are not RUNNING any more.
            log.warning("batch_given_back", jobs=len(claims))
            jobs_release(actor=self.actor, claims=claims, reason=STOPPING)
        finally:
            self._held = {}

    def _process(self, claims: Sequence[Claim]) -> None:
        ready = self._read(claims)
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
        self._release_ahead(reason)
        most = dict.fromkeys(ASIDE, MAX_ASIDE_PUT_OFF)
        late = [claim for claim in claims if claim.attempt >= most.get(claim.kind, MAX_PUT_OFF)]
        for claim in late:
            self._fail(claim, "model_unavailable", transient=False)
        rest = [claim for claim in claims if claim not in late]
        jobs_release(actor=self.actor, claims=rest, reason=reason, pause=LOAD_PAUSE)

    def _one_by_one(self, claims: Sequence[Claim]) -> None:
        """Find the culprit: its batch-mates get their answers."""
        # This may take minutes, which the next batch need not wait.
        self._release_ahead("a batch is repeated one by one")
        for index, claim in enumerate(claims):
            if self.should_stop():
                rest = claims[index:]
                jobs_release(actor=self.actor, claims=rest, reason=STOPPING)
                return
            sweep_when_due()
            self._held = {mate.job_id: mate for mate in claims[index:]}
            if claim.job_id in jobs_heartbeat(claims=claims[index:]):
                self._process([claim])

    def _read(self, claims: Sequence[Claim]) -> list[tuple[Claim, bytes]]:
        small = read_small([claim.storage_name for claim in claims])
        ready = []
        for index, claim in enumerate(claims):
            try:
                data = small.get(claim.storage_name) or self._bytes(claim)
            except StorageUnavailable:
                # Not the pictures' fault: all wait, and are not asked for one by one meanwhile.
                reason = "the storage does not answer"
                self._release_ahead(reason)
                rest = claims[index:]
                jobs_release(actor=self.actor, claims=rest, reason=reason, pause=LOAD_PAUSE)
                break
            if data is not None:
                ready.append((claim, data))
        return ready

    def _bytes(self, claim: Claim) -> bytes | None:
        # With the whole lease before it: a storage that hangs takes most of it.
        self._next_heartbeat = 0.0
        self._keep()
        try:
            return read_bytes(claim.storage_name, self._keep)
        except OSError as error:
            if is_full(error):
                # Ours, not the picture's: it waits until there is room again.
                log.error("disk_full", job_id=str(claim.job_id))
                reason = "the worker's disk is full"
                jobs_release(actor=self.actor, claims=[claim], reason=reason, pause=LOAD_PAUSE)
                return None
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
            path = local_model(model, self._keep)
        except (StorageUnavailable, OSError) as error:
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
        answers = self.engine.predict(model.sha256, pictures, self._beside)
        self._finish([claim for claim, _ in ready], answers)

    def _finish(
        self, claims: Sequence[Claim], answers: Sequence[tuple[dict[str, Any], bytes | None]]
    ) -> None:
        """Store the answers of a batch. One that makes no sense fails its own job, not its
        batch-mates'."""
        readings: list[tuple[Claim, Answer]] = []
        for claim, (raw, heatmap) in zip(claims, answers, strict=True):
            with bound_contextvars(request_id=claim.request_id, job_id=str(claim.job_id)):
                answer = self._understood(claim, raw, heatmap)
                if answer is None:
                    continue
                if claim.kind is JobKind.REPLAY:
                    self._store_replay(claim, answer)
                elif claim.kind is JobKind.SHADOW:
                    self._store_shadow(claim, answer)
                else:
                    readings.append((claim, answer))
        self._store(readings)

    def _understood(
        self, claim: Claim, raw: dict[str, Any], heatmap: bytes | None
    ) -> Answer | None:
        """What the engine said; None where it said nothing usable, and the job has failed."""
        if raw.get("error") == "image_unreadable":
            self._fail(claim, "image_unreadable", transient=False)
            return None
        try:
            return answer_from(raw, heatmap)
        except AnswerInvalidError as error:
            log.error("engine_answer_invalid", error=str(error))
            self._fail(claim, "engine_answer_invalid", transient=False)
            return None

    def _store(self, readings: Sequence[tuple[Claim, Answer]]) -> None:
        if not readings:
            return
        stored = results_store(
            actor=self.actor,
            finished=[Finished(claim.job_id, claim.attempt, answer) for claim, answer in readings],
        )
        for claim, answer in readings:
            with bound_contextvars(request_id=claim.request_id, job_id=str(claim.job_id)):
                if claim.job_id in stored.refused:
                    log.error("answer_refused_by_database", attempt=claim.attempt)
                    self._fail(claim, "engine_answer_invalid", transient=False)
                    continue
                log.info(
                    "job_answered" if claim.job_id in stored.results else "job_fenced_out",
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
        """Extend the leases now and then while the engine works; give up where it is time to end.

        Raises ``WorkerStoppingError``.
        """
        self._heed_the_end()
        if not self._held or time.monotonic() < self._next_heartbeat:
            return
        self._next_heartbeat = time.monotonic() + settings.BCWEB_LEASE_SECONDS / 3
        # Where the database is away: the answers are stored if it is back by then, and if nobody
        # else has taken the jobs.
        with without_database("heartbeat_failed"):
            jobs_heartbeat(claims=[*self._held.values(), *self._ahead])

    def _beside(self) -> None:
        """While the engine works: leases are kept, and the next batch is taken. One at most, and
        only readings that wait: somebody urgent is behind two batches, never more."""
        self._keep()
        if self.should_stop():
            # What is being read may go on for a while: who takes over begins with the rest.
            with without_database("release_failed"):
                self._release_ahead(STOPPING)
        if self.should_stop() or not self._may_look_ahead:
            return
        self._may_look_ahead = False
        # A gain of time and nothing else: what is being read must not suffer from it.
        with without_database("look_ahead_failed"):
            self._ahead = engine_jobs_claim(
                actor=self.actor, limit=settings.BCWEB_BATCH, readings_only=True
            )

    def _release_ahead(self, reason: str) -> None:
        """Give the next batch back: somebody else may answer it sooner."""
        if self._ahead:
            ahead, self._ahead = self._ahead, []
            jobs_release(actor=self.actor, claims=ahead, reason=reason)

    def _heed_the_end(self) -> None:
        if not self.should_stop():
            return
        now = time.monotonic()
        if self._stop_by is None:
            self._stop_by = now + settings.BCWEB_STOP_SECONDS
        if now >= self._stop_by:
            raise WorkerStoppingError
