"""A short night of `make chaos`: real processes, killed, frozen and starved while jobs come in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.chaos.faults import FAULTS
from tests.live import ROOT

# All but those that start everything anew, which take longest; a whole run is `make chaos`.
LEFT_OUT = {"deploy", "valkey hung"}
SEED, JOBS = "5", "60"
# Other tests run beside it.
PACE = os.environ.get("BCWEB_CHAOS_PACE", "1.5")


@pytest.mark.flow
@pytest.mark.timeout(1800)
def test_a_short_night_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    out = tmp_path / "chaos.json"
    chosen = [word for kind in FAULTS if kind not in LEFT_OUT for word in ("--faults", kind)]
    told = ["--seed", SEED, "--jobs", JOBS, "--pace", PACE, *chosen]
    command = [sys.executable, "-m", "bench.chaos", *told, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert done.stdout.splitlines()[-1].startswith(f"chaos: ok (seed {SEED}, "), output
    story = json.loads(out.read_text())
    assert story["ok"] is True
    assert {fault["kind"] for fault in story["faults"]} == set(FAULTS) - LEFT_OUT
    assert all(check["broken"] == [] for check in story["invariants"])
    assert sum(story["jobs"].values()) >= int(JOBS)
