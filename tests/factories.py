"""Things for tests to start from, made through the services: the same doors as in life."""

from __future__ import annotations

import hashlib
import itertools
import struct
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.db import connection

from cases import intake
from cases.access import SYSTEM, Actor, Role, Scope
from cases.models import ApiToken, Case, Job, ModelVersion, Result, Site, Submission, User
from cases.services.fields import submission_fields_parse
from cases.services.jobs import job_rerun
from cases.services.learning import shipped_model_install
from cases.services.leases import engine_jobs_claim
from cases.services.limits import limits
from cases.services.people import actor_for_user, site_create, token_create, user_create
from cases.services.results import Answer, result_store
from cases.services.submission import Upload, submission_create
from cases.vocabulary import Outcome
from tests.phantoms import bmode_phantom, dicom_bytes, jpeg_bytes

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def unique() -> int:
    return next(_numbers)


def make_site(code: str = "") -> Site:
    return site_create(actor=SYSTEM, code=code or f"site{unique()}", name="A site")


def make_user(*, roles: Iterable[str | Role], site: Site | None = None, username: str = "") -> User:
    """A user with `roles` and the password `PASSWORD`."""
    return user_create(
        actor=SYSTEM,
        username=username or f"user{unique()}",
        site=site or make_site(),
        roles=[Role(role) for role in roles],
        password=PASSWORD,
    )


def make_token(
    *,
    scopes: Iterable[str | Scope] = ("submit", "read"),
    roles: Iterable[str | Role] = ("integration",),
    site: Site | None = None,
    user: User | None = None,
    days: int = 30,
) -> tuple[ApiToken, str]:
    """A token's row and its secret."""
    owner = user or make_user(roles=roles, site=site)
    return token_create(
        actor=SYSTEM,
        user=owner,
        name="tests",
        scopes=[Scope(scope) for scope in scopes],
        days=days,
    )


def make_actor(
    *, roles: Iterable[str | Role] = ("radiologist",), site: Site | None = None
) -> Actor:
    return actor_for_user(make_user(roles=roles, site=site))


def live_model() -> ModelVersion:
    """An ACTIVE model whose bytes are not a network: enough where no engine runs."""
    return newer_model("test-model", b"not a network")


def newer_model(version: str, weights: bytes) -> ModelVersion:
    """Such a model in the place of the live one; one that is known stays what it is."""
    digest = hashlib.sha256(weights).hexdigest()
    if known := ModelVersion.objects.filter(sha256=digest).first():
        return known
    card = {
        "version": version,
        "weights": {"sha256": digest},
        "classes": ["benign", "malignant", "normal"],
        "intended_use": "tests",
    }
    model, _ = shipped_model_install(actor=SYSTEM, weights=weights, card=card)
    return model


# Height and width of a phantom where a test does not say: a sixth of the time of a whole one.
SMALL = (188, 200)


def phantom_jpeg(seed: int | None = None) -> bytes:
    """A small B-mode phantom nobody has sent before (or the one of `seed`)."""
    seed = 10_000 + unique() if seed is None else seed
    return jpeg_bytes(bmode_phantom(seed=seed, size=SMALL))


def upload(data: bytes, name: str = "image.jpg") -> Upload:
    """A received file; intake's temporary file is removed with the test's folder."""
    return Upload(intake.receive([data], name, limits()))


def submit(
    *,
    actor: Actor | None = None,
    files: Sequence[bytes] | None = None,
    idempotency_key: str = "",
    override_reason: str = "",
    **fields: Any,
) -> Submission:
    """A stored submission, one phantom unless `files` are given. Makes a live model if needed."""
    live_model()
    fields.setdefault("patient_id", f"P{unique()}")
    contents = [phantom_jpeg()] if files is None else files
    uploads = [upload(data, f"image{n}.jpg") for n, data in enumerate(contents)]
    try:
        return submission_create(
            actor=actor or make_actor(),
            fields=submission_fields_parse(fields),
            uploads=uploads,
            idempotency_key=idempotency_key,
            override_reason=override_reason,
        )
    finally:
        for item in uploads:
            Path(item.received.path).unlink(missing_ok=True)


def make_case(**kwargs: Any) -> Case:
    return submit(**kwargs).case


def answer(
    malignant: float = 0.8,
    *,
    outcome: str | Outcome = Outcome.ANSWERED,
    reason: str = "",
    threshold: float = 0.4,
) -> Answer:
    """What an engine might say. `malignant` is the score; benign gets most of the rest."""
    outcome = Outcome(outcome)
    rest = 1 - malignant
    scores = {"benign": 0.7 * rest, "malignant": malignant, "normal": 0.3 * rest}
    label = "malignant" if malignant >= threshold else "benign"
    refused = outcome is Outcome.REFUSED
    return Answer(
        outcome=outcome,
        reason=reason,
        label="" if refused else label,
        scores=None if refused else scores,
        threshold=threshold,
        sensitivity=0.95,
        heatmap=None if refused else struct.pack("<147e", *([0.5] * 147)),
        heatmap_rows=7,
        heatmap_columns=7,
        heatmap_box=[0.0, 0.0, 500.0, 470.0],
        phash=0xF00DF00DF00DF00D,
        engine="test-engine",
        preprocessing="test",
        duration_ms=71.5,
    )


def frame_result(malignant: float = 0.8) -> Result:
    """A result of a cine: of a frame that is neither the first nor the one chosen at intake."""
    frames = np.stack([bmode_phantom(seed=unique(), size=(120, 140)) for _ in range(4)])
    first = submit(files=[dicom_bytes(frames)], patient_id="").jobs.get()
    stored_result(first)
    other = next(frame for frame in (3, 2) if frame != first.frame)
    return stored_result(job_rerun(actor=SYSTEM, job_id=first.pk, frame=other), malignant)


WORKER = Actor(kind=SYSTEM.kind, label="test-worker")


def stored_result(job: Job, malignant: float = 0.8, **kwargs: Any) -> Result:
    """Claim `job` (and whatever waits before it) and store an answer for it."""
    while True:
        claims = engine_jobs_claim(actor=WORKER, limit=1)
        assert claims, "the job is not waiting"
        if claims[0].job_id == job.pk:
            result = result_store(
                actor=WORKER,
                job_id=job.pk,
                attempt=claims[0].attempt,
                answer=answer(malignant, **kwargs),
            )
            assert result is not None
            return result


def at_once(n: int, work: Any) -> list[Any]:
    """Run `work` in n threads, started together; results or exceptions."""
    barrier, results = threading.Barrier(n), []

    def run() -> None:
        try:
            barrier.wait(60)
            results.append(work())
        except Exception as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    return results
