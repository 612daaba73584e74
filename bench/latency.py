"""How long an image waits for its answer, with and without a training beside it.

The whole service is started as `make run` does, in a folder of its own, with the shipped model.
Phantoms are sent through the REST API at a fixed rate, first while nothing else is done, then
while a real training of other phantoms runs on the training queue, as a user would start it: its
own worker, lowest priority, half of the cores. A latency is counted from the moment an image was
due to be sent, so that a sender held up counts too, until the database says the job has finished.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
from PIL import Image

from bench.inference import machine
from bench.service import live
from ml.cli import UsageError, run_cli
from ml.errors import MlError
from ml.registry import write_atomic
from ml.threads import default_threads
from tests.live import LiveService, wait_for
from tests.phantoms import bmode_phantom, jpeg_bytes

# Sent first and not counted: a fresh worker loads its model, the decoders start.
WARM_UP = 3
LOOK_S = 0.25
END_S = 180.0
TRAINING_STARTS_S = 1800.0
SENDERS = 16
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
# By nearest rank: of fewer than a hundred images p99 is the slowest.
PERCENTILES = (50, 95, 99)
LABELS: tuple[Literal["benign", "malignant", "normal"], ...] = ("benign", "malignant", "normal")


class TrainingEndedError(MlError):
    """The training did not last as long as the measurement beside it."""


@dataclass(frozen=True)
class Answer:
    """One image: seconds from when it was due to its result, how the job ended, what it said."""

    seconds: float
    state: str
    outcome: str


def percentile(seconds: Sequence[float], per_cent: int) -> float:
    """By nearest rank: a latency that was measured, none between two. Raises ``ValueError``
    without any."""
    if not seconds:
        raise ValueError("no latencies")
    rank = max(1, math.ceil(per_cent / 100 * len(seconds)))
    return sorted(seconds)[rank - 1]


def summary(answers: Sequence[Answer]) -> dict[str, Any]:
    """The figures of one round. Images whose job failed count: somebody waited for them too."""
    seconds = [answer.seconds for answer in answers]
    return {
        "n": len(answers),
        **{f"p{p}_s": percentile(seconds, p) for p in PERCENTILES},
        "mean_s": statistics.fmean(seconds),
        "max_s": max(seconds),
        "states": dict(Counter(answer.state for answer in answers)),
        "outcomes": dict(Counter(answer.outcome for answer in answers)),
    }


def table(idle: dict[str, Any], busy: dict[str, Any]) -> str:
    """Both rounds and their ratio, one a line."""
    keys = [*(f"p{p}_s" for p in PERCENTILES), "mean_s", "max_s"]
    heads = "".join(f"{key.removesuffix('_s'):>9}" for key in keys)
    lines = [f"{'seconds':26}{'n':>6}{heads}"]
    for name, found in (("nothing beside it", idle), ("a training beside it", busy)):
        cells = "".join(f"{found[key]:9.3f}" for key in keys)
        lines.append(f"{name:26}{found['n']:6d}{cells}")
    ratios = "".join(f"{busy[key] / idle[key]:8.2f}x" for key in keys)
    return "\n".join([*lines, f"{'ratio':26}{'':6}{ratios}"])


# Sending


def send_all(
    service: LiveService, *, seconds: float, every: float, seed: int, warm_up: int = WARM_UP
) -> list[Answer]:
    """Send a phantom each ``every`` seconds for ``seconds``, whatever became of the one before;
    the answers in that order. The first ``warm_up`` are awaited one by one, and not counted."""
    count = max(1, math.floor(seconds / every))
    # Drawn before: that costs more than answering one.
    pictures = [jpeg_bytes(bmode_phantom(seed + k)) for k in range(warm_up + count)]
    with service.api() as api, ThreadPoolExecutor(SENDERS) as pool:
        for picture in pictures[:warm_up]:
            _send(api, picture, time.time())
        start = time.time() + 0.1
        waiting = []
        for place, picture in enumerate(pictures[warm_up:]):
            due = start + place * every
            time.sleep(max(0.0, due - time.time()))
            waiting.append(pool.submit(_send, api, picture, due))
        return [one.result() for one in waiting]


def _send(api: httpx.Client, picture: bytes, due: float) -> Answer:
    """Submit one picture and wait for the end of its job. ``due``: seconds of the epoch."""
    response = api.post(
        "/submissions/",
        data={"patient_id": f"BENCH-{os.urandom(6).hex()}"},
        files={"file": ("phantom.jpg", picture)},
    )
    response.raise_for_status()
    url = f"/jobs/{response.json()['jobs'][0]['id']}/"

    def ended() -> dict[str, Any] | None:
        # Seldom, so that asking takes little from what is measured: the time is the database's.
        time.sleep(LOOK_S)
        job: dict[str, Any] = api.get(url).raise_for_status().json()
        return job if job["state"] in FINAL else None

    job = wait_for("an answer", ended, seconds=END_S)
    finished = datetime.fromisoformat(job["finished_at"]).timestamp()
    outcome = job["result"]["outcome"] if job["result"] else "none"
    return Answer(finished - due, job["state"], outcome)


# Training


@contextmanager
def training(
    service: LiveService, *, pictures: int, epochs: int, size: int
) -> Iterator[dict[str, Any]]:
    """A training of so many phantoms, in its steps when the block begins; what it is.

    Raises ``TrainingEndedError`` at the end of the block where it has ended before.
    """
    with tempfile.TemporaryDirectory(prefix="bcweb-bench-data-") as folder:
        root = Path(folder) / "phantoms"
        for number in range(pictures):
            label = LABELS[number % len(LABELS)]
            (root / label).mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(bmode_phantom(100_000 + number, lesion=label))
            image.save(root / label / f"{number}.png")
        service.manage("import_dataset", str(root), "--folds", "2")
        told = service.manage(
            "train_model", "newest", "--reason", "to measure latency beside it",
            "--recipe", "bcweb", "--init", "active", "--epochs", str(epochs), "--size", str(size),
        )  # fmt: skip
        run_id = told.split("training run ", 1)[1].split()[0]
        wait_for(
            "the training's steps",
            lambda: _progress(service, run_id).get("phase") == "training",
            seconds=TRAINING_STARTS_S,
        )
        began = _progress(service, run_id)
        facts: dict[str, Any] = {"recipe": "bcweb", "pictures": pictures, "size": size}
        yield facts
        ended = _progress(service, run_id)
        if ended.get("phase") != "training":
            raise TrainingEndedError(
                "the training ended before the measurement did: give more --pictures or --epochs"
            )
        facts |= {"began": began, "ended": ended}


def _progress(service: LiveService, run_id: str) -> dict[str, Any]:
    """What the running job tells of itself; nothing where it does not run. Raises
    ``TrainingEndedError`` where it has failed."""
    row = service.sql("SELECT state, progress, error_code FROM cases_job WHERE id = %s", run_id)[0]
    if row[0] in ("FAILED", "CANCELLED"):
        raise TrainingEndedError(f"the training ended: {row[0]} {row[2]}")
    return dict(row[1] or {}) if row[0] == "RUNNING" else {}


def threads(told: int | None) -> dict[str, Any]:
    """Threads of the engine and of the training, as the workers take them."""
    # As worker.training: what is set for engines, else half the cores.
    beside = told or max(1, len(os.sched_getaffinity(0)) // 2)
    return {"engine": told or default_threads(), "training": beside}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both rounds on a service of their own, and on what they were measured."""
    environment = {}
    if arguments.threads:
        environment["BCWEB_THREADS"] = str(arguments.threads)
    if arguments.model:
        environment["BCWEB_MODEL"] = str(arguments.model.resolve())
    send = partial(send_all, seconds=arguments.seconds, every=arguments.every)
    used = threads(arguments.threads)
    on = machine(used["engine"])
    with live(**environment) as service:
        idle = send(service, seed=0)
        beside = training(
            service, pictures=arguments.pictures, epochs=arguments.epochs, size=arguments.size
        )
        with beside as facts:
            busy = send(service, seed=50_000)
    return {
        "machine": on,
        "threads": used,
        "every_s": arguments.every,
        "idle": summary(idle),
        "training": summary(busy),
        "beside": facts,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m bench.latency [--seconds 120] [--every 2] [--json OUT] …``."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, metavar="S", help="of each round")
    parser.add_argument("--every", type=float, default=2, metavar="S", help="between two images")
    parser.add_argument("--pictures", type=int, default=240, metavar="N", help="trained from")
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="of the training")
    parser.add_argument("--size", type=int, default=224, metavar="PX", help="its input size")
    parser.add_argument("--threads", type=int, metavar="N", help="of engine and training each")
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped one")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    arguments = parser.parse_args(argv)
    if min(arguments.seconds, arguments.every) <= 0:
        raise UsageError("--seconds and --every must be above 0")
    threads_told = 1 if arguments.threads is None else arguments.threads
    if min(arguments.pictures, arguments.epochs, arguments.size, threads_told) < 1:
        raise UsageError("--pictures, --epochs, --size and --threads must be at least 1")
    found = measure(arguments)
    print(table(found["idle"], found["training"]))
    for line in notes(found):
        print(line)
    if arguments.json:
        write_atomic(arguments.json, (json.dumps(found, indent=2) + "\n").encode())
    return 0


def notes(found: dict[str, Any]) -> list[str]:
    """What the figures rest on."""
    on, beside, used = found["machine"], found["beside"], found["threads"]
    return [
        f"one image every {found['every_s']:g} s; from when it was due to when its job finished, "
        "by the clocks of this machine; percentiles by nearest rank",
        *(
            f"{name}: {found[key]['states']}, {found[key]['outcomes']}"
            for name, key in (("nothing beside it", "idle"), ("a training beside it", "training"))
        ),
        f"training: recipe {beside['recipe']}, {beside['pictures']} phantoms at "
        f"{beside['size']} px; from {_at(beside['began'])} to {_at(beside['ended'])}",
        f"{on['cpu']}, {on['cpus']} CPUs, engine with {used['engine']} threads, training with "
        f"{used['training']} at nice 15; load average before: {on['load']:.1f}",
    ]


def _at(progress: dict[str, Any]) -> str:
    return f"epoch {progress.get('epoch')}, step {progress.get('step')}"


if __name__ == "__main__":
    sys.exit(run_cli(main))
