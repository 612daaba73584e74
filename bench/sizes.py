"""How much is measured: enough to trust on an idle machine, or a moment's worth to try it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Counts of each part. The defaults take about twelve minutes on two idle cores."""

    rounds: int = 3
    # queue: jobs per round and design.
    queue_jobs: int = 800
    # end: images per round, for the service and for the bare engine.
    end_images: int = 96
    # http
    uploads: int = 300
    latencies: int = 60
    poll_seconds: float = 8.0
    clients: int = 8
    # events
    waiting: int = 300
    event_images: int = 20
    # growth
    cases: int = 100_000
    events: int = 1_000_000
    queued: tuple[int, ...] = (1_000, 10_000, 100_000)
    page_repeats: int = 30
    claim_repeats: int = 30


FULL = Sizes()
SMALL = Sizes(
    rounds=1,
    queue_jobs=24,
    end_images=4,
    uploads=8,
    latencies=2,
    poll_seconds=0.5,
    clients=2,
    waiting=5,
    event_images=1,
    cases=300,
    events=1_000,
    queued=(50, 200),
    page_repeats=2,
    claim_repeats=2,
)
