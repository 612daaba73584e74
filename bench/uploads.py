"""Uploads accepted per second over HTTP: hashed, decoded in full, stored with all rows.

Several clients send different pictures of 500 x 470 while the inference worker is held still, so
that the model does not share the processors. Beside them, in one process and without a service:
the same bytes hashed and decoded, which no service can do without.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Sequence

from PIL import Image

from bcweb.embedded import linux
from bench import service
from bench.client import Answer, Client, Load, submission, together
from bench.figures import Figure, Section, spread
from bench.pictures import pictures, variant
from bench.sizes import Sizes
from tests.live import paused

BASELINE = "hash and full decode alone, in one process without a service"


def run(sizes: Sizes) -> Section:
    with service.live() as found:
        return measure(found, sizes)


def measure(found: service.LiveService, sizes: Sizes) -> Section:
    drawn = pictures()
    sent = [
        variant(drawn[number % len(drawn)], f"upload {number} {time.time_ns()}")
        for number in range(sizes.uploads + 2 * sizes.clients)
    ]
    token = found.demo["integration"]["token"]
    clients = [Client(found.url, token) for _ in range(sizes.clients)]
    warm, rest = sent[: 2 * sizes.clients], sent[2 * sizes.clients :]
    reader = found.pid_of("inference")
    # The model must not share the processors with what is measured.
    with paused([reader, *linux.descendants(reader)]):
        _upload(clients, warm)
        bare = _bare(rest)
        load, images = _upload(clients, rest)
        previews = _previews(clients, images)
    accepted = load.statuses.get(202, 0)
    times = spread([1000 * seconds for seconds in load.seconds])
    return Section(
        name="uploads",
        title="uploads over HTTP, one JPEG of 500 x 470 each",
        figures=[
            Figure(
                "accepted", accepted / load.wall_s, "/s", len(rest) / bare, BASELINE, at_least=30
            ),
            Figure("until 202, p50", times["p50"], "ms"),
            Figure("until 202, p95", times["p95"], "ms"),
            Figure("previews at first view", previews.rate, "/s"),
        ],
        notes=[
            f"{len(rest)} uploads by {len(clients)} clients at once: {load.statuses}; "
            f"{len(previews.seconds)} previews: {previews.statuses}",
        ],
        details={"ms": times},
    )


def _bare(pictures: Sequence[bytes]) -> float:
    began = time.perf_counter()
    for data in pictures:
        hashlib.sha256(data).hexdigest()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    return time.perf_counter() - began


def _upload(clients: Sequence[Client], sent: Sequence[bytes]) -> tuple[Load, list[str]]:
    """What came of them, and the ids of the images that were accepted."""
    waiting = iter(list(sent))  # next() of a list's iterator is atomic
    images: list[str] = []

    def ask(client: Client, done: int) -> Answer | None:
        picture = next(waiting, None)
        if picture is None:
            return None
        body, headers = submission(picture)
        answer = client.ask("POST", "/api/v1/submissions/", body, **headers)
        if answer.status == 202:
            images.append(answer.json()["images"][0]["id"])
        return answer

    return together(clients, ask), images


def _previews(clients: Sequence[Client], images: Sequence[str]) -> Load:
    """The first look at some of the pictures."""
    waiting = iter(images[: max(len(clients), len(images) // 4)])

    def ask(client: Client, done: int) -> Answer | None:
        image = next(waiting, None)
        return None if image is None else client.ask("GET", f"/api/v1/images/{image}/preview/")

    return together(clients, ask)
