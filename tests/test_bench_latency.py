"""The latency benchmark says what it measured; how long anything takes is not tested."""

from __future__ import annotations

from typing import Any

import pytest

from bench import latency
from bench.latency import Answer, percentile, send_all, summary, table
from ml.cli import UsageError
from tests.live import LiveService


def test_percentiles_are_latencies_that_were_measured() -> None:
    seconds = [k / 10 for k in range(100, 0, -1)]
    assert [percentile(seconds, p) for p in (50, 95, 99, 100)] == [5.0, 9.5, 9.9, 10.0]
    # Of few the last one stands for the slowest.
    assert [percentile([3.0, 1.0, 2.0], p) for p in (50, 95, 99)] == [2.0, 3.0, 3.0]
    with pytest.raises(ValueError, match="no latencies"):
        percentile([], 50)


def test_a_round_counts_every_image_however_it_ended() -> None:
    found = summary(
        [
            Answer(0.5, "SUCCEEDED", "answered"),
            Answer(0.7, "SUCCEEDED", "abstained"),
            Answer(9.0, "FAILED", "none"),
        ]
    )
    assert (found["n"], found["p50_s"], found["p99_s"], found["max_s"]) == (3, 0.7, 9.0, 9.0)
    assert found["states"] == {"SUCCEEDED": 2, "FAILED": 1}
    assert found["outcomes"] == {"answered": 1, "abstained": 1, "none": 1}


def test_the_table_and_its_notes_state_the_ratio_and_what_it_rests_on() -> None:
    idle = summary([Answer(0.2, "SUCCEEDED", "answered")] * 20)
    busy = summary([Answer(0.5, "SUCCEEDED", "answered")] * 20)
    lines = table(idle, busy).splitlines()
    assert [line.split()[-1] for line in lines] == ["max", "0.200", "0.500", "2.50x"]
    found: dict[str, Any] = {
        "machine": {"cpu": "a processor", "cpus": 2, "threads": 2, "load": 0.3},
        "threads": {"engine": 2, "training": 1},
        "every_s": 2.0,
        "idle": idle,
        "training": busy,
        "beside": {
            "recipe": "bcweb",
            "pictures": 240,
            "size": 224,
            "began": {"epoch": 1, "step": 2},
            "ended": {"epoch": 3, "step": 4},
        },
    }
    told = "\n".join(latency.notes(found))
    for words in (
        "every 2 s",
        "{'answered': 20}",
        "240 phantoms at 224 px; from epoch 1, step 2 to epoch 3, step 4",
        "a processor, 2 CPUs, engine with 2 threads, training with 1 at nice 15",
        "load average before: 0.3",
    ):
        assert words in told


@pytest.mark.parametrize(
    "wrong", [["--seconds", "0"], ["--every", "-1"], ["--pictures", "0"], ["--threads", "0"]]
)
def test_what_cannot_be_measured_is_refused(wrong: list[str]) -> None:
    with pytest.raises(UsageError):
        latency.main(wrong)


@pytest.mark.flow
def test_images_are_sent_through_the_api_and_timed(live_service: LiveService) -> None:
    live_service.await_ready()
    answers = send_all(live_service, seconds=2, every=1, seed=990_000, warm_up=1)
    assert [answer.state for answer in answers] == ["SUCCEEDED"] * 2
    assert all(0 < answer.seconds < latency.END_S for answer in answers)
