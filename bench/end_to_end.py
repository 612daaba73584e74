"""Images per second with the real model, jobs already accepted, beside the bare engine.

The service's own worker process answers images whose jobs wait, from the moment answering is
resumed to the last stored result. In turns with it, in a process that is loaded as long, the same
engine loops over the same images: already decoded, which the service's are not, and from bytes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench import service
from bench.figures import Figure, Section
from bench.sizes import Sizes
from tests.live import wait_for

if TYPE_CHECKING:
    from cases.models import Image

END_S = 180.0
START_S = 120.0
BASELINE = "the bare engine looping over the same images, decoded beforehand"
FROM_BYTES = "the bare engine looping over the same images as JPEG"


class Bare:
    """The engine's process; it sleeps while it is not asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.engine = self._line()

    def seconds(self, kind: str, count: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind} {count}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise AssertionError("the bare engine ended")
        return line


@contextmanager
def bare(batch: int) -> Iterator[Bare]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare", str(batch)],
        cwd=service.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Bare(process)
    finally:
        process.kill()
        process.wait()


def run(sizes: Sizes) -> Section:
    with service.database():
        from django.core.management import call_command

        from bench import seed

        call_command("setup_service", verbosity=0)
        images = seed.images(seed.site(), sizes.end_images)
        return _measured(sizes, images)


def _measured(sizes: Sizes, images: Sequence[Image]) -> Section:
    from django.conf import settings

    batch = settings.BCWEB_BATCH
    celery = ["-m", "celery", "--quiet", "-A", "bcweb", "worker", "--pool", "solo"]
    celery += ["--queues", "inference,maintenance", "--without-gossip", "--without-mingle"]
    rates: dict[str, list[float]] = {"service": [], "arrays": [], "bytes": []}
    with service.worker(celery, LOG_LEVEL="INFO"), bare(batch) as engine:
        _await_worker()
        for number in range(sizes.rounds + 1):
            found = {
                "service": _service(images),
                "arrays": engine.seconds("arrays", len(images)),
                "bytes": engine.seconds("bytes", len(images)),
            }
            if number:  # the first round warms all of them up
                for name, seconds in found.items():
                    rates[name].append(len(images) / seconds)
        name = engine.engine
    median = {name: statistics.median(found) for name, found in rates.items()}
    return Section(
        name="end",
        title="end to end with the shipped model, jobs already accepted",
        figures=[
            Figure(
                "answered and stored", median["service"], "images/s", median["arrays"], BASELINE,
                at_least=0.9 * median["arrays"],
            ),
            Figure(
                "answered and stored (other baseline)", median["service"], "images/s",
                median["bytes"], FROM_BYTES,
            ),
        ],
        notes=[
            f"{len(images)} phantoms a round, medians of {sizes.rounds} rounds, in turns; batches "
            f"of {batch}; {name}; BCWEB_THREADS={os.environ.get('BCWEB_THREADS', '0')}",
        ],
        details={"images_per_s": rates},
    )  # fmt: skip


def _await_worker() -> None:
    from cases.models import ServiceHeartbeat

    ready = ServiceHeartbeat.objects.filter(kind="inference", ready=True)
    wait_for("the inference worker", ready.exists, seconds=START_S, every=0.5)


def _service(images: Sequence[Image]) -> float:
    """Seconds from the resumption to the last result."""
    from cases.access import SYSTEM
    from cases.models import Job, Result
    from cases.services.jobs import inference_jobs_create
    from cases.services.serving import serving_resume, serving_suspend
    from cases.vocabulary import PriorityRank
    from tests.factories import make_actor

    serving_suspend(actor=SYSTEM, reason="The bench lets jobs wait.")
    inference_jobs_create(
        actor=SYSTEM, images=images, priority=PriorityRank.ROUTINE, submission=None
    )
    stored = Result.objects.count()
    person = make_actor(roles=["admin"])
    began = time.perf_counter()
    serving_resume(actor=person, reason="The bench measures.")
    wait_for(
        "the answers",
        lambda: Result.objects.count() - stored >= len(images),
        seconds=END_S,
        every=0.05,
    )
    took = time.perf_counter() - began
    assert not Job.objects.exclude(state="SUCCEEDED").exists()
    return took
