"""The loop of an inference worker: claim what waits, let the engine answer, finish by the fence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from structlog.contextvars import bound_contextvars

from cases.access import Actor, ActorKind
from cases.selectors.learning import model_of
from cases.services.leases import (
    Claim,
    inference_jobs_claim,
    job_fail,
    jobs_heartbeat,
    jobs_release,
)
from cases.services.results import Answer, result_store
from cases.storage import read_bytes
from cases.vocabulary import Outcome
from worker.engine import EngineFaultError, EngineOptions, EngineProcess
from worker.model_store import forget, local_model

if TYPE_CHECKING:
    from cases.models import ModelVersion

log = structlog.get_logger(__name__)


def engine_options() -> EngineOptions:
    return EngineOptions(
        device=settings.BCWEB_DEVICE,
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
        self._next_heartbeat = 0.0

    def warm_up(self, model: ModelVersion) -> str:
        """Load ``model`` before the first job; the engine's name. ``EngineFaultError`` if not."""
        self._load(model, [])
        return self.engine.engine

    def drain(self) -> int:
        """Work until nothing waits or the worker must stop. Returns how many jobs were taken."""
        taken = 0
        while not self.should_stop():
            claims = inference_jobs_claim(actor=self.actor, limit=settings.BCWEB_BATCH)
            if not claims:
                break
            taken += len(claims)
            self.process(claims)
        return taken

    def process(self, claims: Sequence[Claim]) -> None:
        """Answer one batch. A batch that kills the engine is repeated one by one."""
        self._next_heartbeat = time.monotonic() + settings.BCWEB_LEASE_SECONDS / 3
        ready = [(claim, data) for claim in claims if (data := self._bytes(claim)) is not None]
        if not ready:
            return
        model = model_of(model_id=claims[0].model_version_id)
        try:
            self._load(model, claims)
        except EngineFaultError as fault:
            # Not the pictures' fault: each job keeps its remaining attempts.
            for claim, _ in ready:
                self._fail(claim, fault.code, fault.detail, transient=True)
            return
        try:
            self._answer(model, ready)
        except EngineFaultError as fault:
            log.warning("batch_fault", code=fault.code, jobs=len(ready))
            if len(ready) == 1:
                self._fail(ready[0][0], fault.code, fault.detail, transient=True)
            else:
                self._one_by_one([claim for claim, _ in ready])

    def _one_by_one(self, claims: Sequence[Claim]) -> None:
        """Find the culprit: its batch-mates get their answers."""
        for index, claim in enumerate(claims):
            rest = claims[index:]
            if self.should_stop():
                jobs_release(actor=self.actor, claims=rest, reason="the worker is stopping")
                return
            held = jobs_heartbeat(claims=rest)
            if claim.job_id in held:
                self.process([claim])

    def _bytes(self, claim: Claim) -> bytes | None:
        try:
            return read_bytes(claim.storage_name)
        except OSError as error:
            log.error("stored_bytes_damaged", job_id=str(claim.job_id), error=str(error))
            self._fail(
                claim,
                "storage_damaged",
                "The stored image is missing or damaged.",
                transient=False,
            )
            return None

    def _load(self, model: ModelVersion, claims: Sequence[Claim]) -> None:
        try:
            path = local_model(model)
        except OSError as error:
            raise EngineFaultError("model_unavailable", str(error)) from error
        try:
            self.engine.load(model.sha256, path, lambda: self._keep(claims))
        except EngineFaultError as fault:
            if fault.code == "model_unavailable":
                # Perhaps only the local copy is bad: fetch it again next time.
                forget(model)
            raise

    def _answer(self, model: ModelVersion, ready: Sequence[tuple[Claim, bytes]]) -> None:
        claims = [claim for claim, _ in ready]
        pictures = [data for _, data in ready]
        answers = self.engine.predict(model.sha256, pictures, lambda: self._keep(claims))
        for claim, (answer, heatmap) in zip(claims, answers, strict=True):
            with bound_contextvars(request_id=claim.request_id, job_id=str(claim.job_id)):
                if "error" in answer:
                    self._fail(claim, answer["error"], answer["detail"], transient=False)
                    continue
                stored = result_store(
                    actor=self.actor,
                    job_id=claim.job_id,
                    attempt=claim.attempt,
                    answer=_to_answer(answer, heatmap),
                )
                log.info(
                    "job_answered" if stored else "job_fenced_out",
                    attempt=claim.attempt,
                    outcome=answer["outcome"],
                    duration_ms=round(answer["duration_ms"], 1),
                )

    def _fail(self, claim: Claim, code: str, detail: str, *, transient: bool) -> None:
        state = job_fail(
            actor=self.actor,
            job_id=claim.job_id,
            attempt=claim.attempt,
            code=code,
            detail=detail,
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

    def _keep(self, claims: Sequence[Claim]) -> None:
        """Extend the leases now and then while the engine works."""
        if claims and time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + settings.BCWEB_LEASE_SECONDS / 3
            jobs_heartbeat(claims=claims)


def _to_answer(answer: dict[str, Any], heatmap: bytes | None) -> Answer:
    shape = answer["heatmap_shape"]
    return Answer(
        outcome=Outcome(answer["outcome"]),
        reason=answer["reason"],
        label=answer["label"],
        scores=answer["scores"],
        threshold=answer["operating_point"]["threshold"],
        sensitivity=answer["operating_point"]["sensitivity"],
        heatmap=heatmap,
        heatmap_rows=shape[1],
        heatmap_columns=shape[2],
        heatmap_box=answer["heatmap_box"],
        phash=answer["phash"],
        engine=answer["engine"],
        preprocessing=answer["preprocessing"],
        duration_ms=answer["duration_ms"],
    )
