"""How long an image takes where nothing else waits, beside the model's own time for it.

From the answer 202 to the first `GET /jobs/{id}/` that shows the result, asked every few
milliseconds by the same client; minus `duration_ms`, what the model took for it.
"""

from __future__ import annotations

import time

from bench import service
from bench.client import Client, submission
from bench.figures import Figure, Section, spread
from bench.pictures import pictures, variant
from bench.sizes import Sizes

LOOK_S = 0.004
END_S = 180.0
WARM_UP = 3
BASELINE = "the model's own time for the same images"


def run(sizes: Sizes) -> Section:
    with service.live() as found:
        return measure(found, sizes)


def measure(found: service.LiveService, sizes: Sizes) -> Section:
    drawn = pictures()
    client = Client(found.url, found.demo["integration"]["token"])
    rows = [
        _one(client, variant(drawn[number % len(drawn)], f"idle {number} {time.time_ns()}"))
        for number in range(WARM_UP + sizes.latencies)
    ][WARM_UP:]
    over = spread([1000 * waited - model for _, waited, model in rows])
    model = spread([model for _, _, model in rows])
    taken = spread([1000 * taken for taken, _, _ in rows])
    return Section(
        name="latency",
        title="idle: upload accepted to result readable, minus the model's own time",
        figures=[
            Figure("p50", over["p50"], "ms", model["p50"], BASELINE, at_most=60),
            Figure("p95", over["p95"], "ms", model["p95"], BASELINE, at_most=150),
            Figure("upload until 202, p50", taken["p50"], "ms"),
            Figure("upload until 202, p95", taken["p95"], "ms"),
        ],
        notes=[f"{len(rows)} images, one after the other, asked for every {1000 * LOOK_S:g} ms"],
        details={"over_ms": over, "model_ms": model, "upload_ms": taken},
    )


def _one(client: Client, picture: bytes) -> tuple[float, float, float]:
    """Seconds until 202, seconds from there to the result, and the model's own milliseconds."""
    body, headers = submission(picture)
    accepted = client.ask("POST", "/api/v1/submissions/", body, **headers)
    began = time.perf_counter()
    if accepted.status != 202:
        raise AssertionError(f"refused: {accepted.body[:200]!r}")
    path = f"/api/v1/jobs/{accepted.json()['jobs'][0]['id']}/"
    while time.perf_counter() - began < END_S:
        job = client.ask("GET", path).json()
        if job["result"] is not None:
            waited = time.perf_counter() - began
            return accepted.seconds, waited, job["result"]["duration_ms"]
        if job["state"] == "FAILED":
            raise AssertionError(f"failed: {job['error']}")
        time.sleep(LOOK_S)
    raise AssertionError("no result in time")
