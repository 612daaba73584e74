"""A short night of `make chaos`: real processes, killed, frozen and starved while jobs come in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import ROOT

# Of each sort one or two; none that starts everything anew, which takes longest. A whole run is
# `make chaos`.
KINDS = (
    "worker killed",
    "engine killed",
    "worker frozen past its lease",
    "worker told to stop",
    "web killed in an upload",
    "beat killed",
    "valkey flushed",
    "postgres restarted",
    "messages dropped",
    "storage full",
)
SEED, JOBS = "12", "20"
# Other tests run beside it: the service's own times are a little longer, the bounds it is judged by
# much longer. `make chaos` alone on a machine is what holds those.
PACE = os.environ.get("BCWEB_CHAOS_PACE", "1.2")
PATIENCE = "4"


@pytest.mark.flow
@pytest.mark.timeout(1800)
def test_a_short_night_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    out = tmp_path / "chaos.json"
    chosen = [word for kind in KINDS for word in ("--faults", kind)]
    told = ["--seed", SEED, "--jobs", JOBS, "--pace", PACE, "--patience", PATIENCE, *chosen]
    command = [sys.executable, "-m", "bench.chaos", *told, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert done.stdout.splitlines()[-1].startswith(f"chaos: ok (seed {SEED}, "), output
    story = json.loads(out.read_text())
    assert story["ok"] is True
    assert {fault["kind"] for fault in story["faults"]} == set(KINDS)
    assert all(check["broken"] == [] for check in story["invariants"])
    # The fence was put to the test.
    assert story["fenced_out"] > 0
    assert sum(story["jobs"].values()) >= int(JOBS)
