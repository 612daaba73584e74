"""Jobs per second from the service call to the stored result, the model replaced by a sleep.

The service's own worker process and rows beside the plain design of `bench.plain`: one worker
process each, on the same servers, in turns. The service is called for one image at a time, as the
plain design is, and for eight, as a study has several.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence

from bench import service
from bench.figures import Figure, Section
from bench.sizes import Sizes
from tests.live import wait_for

STUDY = 8
END_S = 120.0
BASELINE = "a Celery task and ORM rows per image (bench/plain.py), one worker process, same call"


def run(sizes: Sizes) -> Section:
    with service.database():
        from bench import seed

        images = seed.images(seed.site(), sizes.queue_jobs)
        return _measured(sizes, images)


def _measured(sizes: Sizes, images: Sequence[object]) -> Section:
    """Both designs in turns, each with its worker up and idle before."""
    from bench import plain

    plain.make_tables()
    designs: dict[str, Callable[[], float]] = {
        "one": lambda: _service(images, 1),
        "study": lambda: _service(images, STUDY),
        "plain": lambda: _plain(images),
    }
    seconds: dict[str, list[float]] = {name: [] for name in designs}
    with (
        service.worker(["-m", "bench.queue_worker"], LOG_LEVEL="ERROR"),
        service.worker(["-m", "bench.plain"], LOG_LEVEL="ERROR"),
    ):
        _live_model()
        for number in range(sizes.rounds + 1):
            for name, measure in designs.items():
                took = measure()
                if number:  # the first round starts the workers
                    seconds[name].append(took)
    rate = {name: len(images) / statistics.median(times) for name, times in seconds.items()}
    return Section(
        name="queue",
        title="queue core, 1 ms of sleep per image in place of the model",
        figures=[
            Figure(
                f"calls for {STUDY} images", rate["study"], "jobs/s", rate["plain"], BASELINE,
                at_least=300,
            ),
            Figure("calls for 1 image", rate["one"], "jobs/s", rate["plain"], BASELINE),
        ],
        notes=[
            f"{len(images)} jobs a round, medians of {sizes.rounds} rounds; from the first call to "
            "the last stored result; calls from one process; the goal is also 3x the baseline",
            f"batches of up to {os.environ.get('BCWEB_BATCH', '8')}; durable Postgres (fsync)",
        ],
        details={"seconds": seconds},
    )  # fmt: skip


def _live_model() -> None:
    """A model whose bytes are not a network: the engine that sleeps asks for none."""
    from tests.factories import live_model

    live_model()


def _service(images: Sequence[object], together: int) -> float:
    """Seconds from the first call to the last result."""
    from cases.access import SYSTEM
    from cases.models import Image, Job, Result
    from cases.services.jobs import inference_jobs_create
    from cases.vocabulary import PriorityRank

    rows = [image for image in images if isinstance(image, Image)]
    stored = Result.objects.count()
    began = time.perf_counter()
    for start in range(0, len(rows), together):
        inference_jobs_create(
            actor=SYSTEM,
            images=rows[start : start + together],
            priority=PriorityRank.ROUTINE,
            submission=None,
        )
    wait_for(
        "the results",
        lambda: Result.objects.count() - stored >= len(rows),
        seconds=END_S,
        every=0.02,
    )
    took = time.perf_counter() - began
    assert not Job.objects.exclude(state="SUCCEEDED").exists()
    return took


def _plain(images: Sequence[object]) -> float:
    from bench import plain
    from cases.models import Image

    stored = plain.PlainResult.objects.count()
    rows = [image for image in images if isinstance(image, Image)]
    began = time.perf_counter()
    for image in rows:
        plain.submit(image)
    wait_for(
        "the plain results",
        lambda: plain.PlainResult.objects.count() - stored >= len(rows),
        seconds=END_S,
        every=0.02,
    )
    return time.perf_counter() - began
