"""`make bench`: every part beside its baseline, tables for people and STATE/bench.json.

Each part runs in a process of its own, with servers of its own in a temporary folder, and with a
limit on its time: one that fails or hangs takes no other along. Nothing here asserts on time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bcweb.embedded import paths
from bench.figures import Section, section_of, table
from bench.sizes import FULL, SMALL

# Part to the module whose ``run(sizes)`` measures it, and seconds it may take at most.
PARTS: dict[str, tuple[str, float]] = {
    "queue": ("bench.queue_core", 420),
    "end": ("bench.end_to_end", 420),
    "uploads": ("bench.uploads", 420),
    "latency": ("bench.idle", 420),
    "polls": ("bench.polls", 420),
    "events": ("bench.events", 420),
    "growth": ("bench.growth", 600),
    "memory": ("bench.memory", 300),
}


class PartFailedError(Exception):
    """A part gave no figures; says why."""


def measured(part: str, *, small: bool, patience: float) -> Section:
    """The figures of one part, from a process of its own. Raises ``PartFailedError``."""
    limit_s = PARTS[part][1] * patience
    with tempfile.NamedTemporaryFile(prefix="bcweb-bench-", suffix=".json") as out:
        command = [sys.executable, "-m", "bench", "--measure", part, "--json", out.name]
        child = subprocess.Popen(
            [*command, *(["--small"] if small else [])],
            stdout=2,
            start_new_session=True,
        )
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise PartFailedError(f"not done within {limit_s:g} s") from None
        finally:
            _end(child)
        if code:
            raise PartFailedError(f"ended with exit code {code}")
        return section_of(json.loads(Path(out.name).read_text()))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a part that still runs: its own clean-up first, then whatever is left of it."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def machine() -> dict[str, Any]:
    """On what it was measured, and how busy that was."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else "unknown",
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m bench [--only PART …] [--small] [--state DIR]``; 1 where a part failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true", help="a moment's worth of each")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where bench.json is written")
    parser.add_argument(
        "--patience",
        type=float,
        default=1.0,
        metavar="X",
        help="a part may take X times as long",
    )
    parser.add_argument("--measure", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.measure:
        run = import_module(PARTS[arguments.measure][0]).run
        section: Section = run(SMALL if arguments.small else FULL)
        arguments.json.write_text(json.dumps(section.as_json()))
        return 0
    return _all(
        arguments.only or list(PARTS),
        small=arguments.small,
        patience=arguments.patience,
        state=arguments.state,
    )


def _all(parts: Sequence[str], *, small: bool, patience: float, state: Path | None) -> int:
    on = machine()
    print(f"{on['cpu']}, {on['cpus']} CPUs, load average before: {on['load']:.1f}")
    sections: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for part in parts:
        began = time.monotonic()
        try:
            section = measured(part, small=small, patience=patience)
        except PartFailedError as error:
            failed[part] = str(error)
            print(f"\n{part}: FAILED ({error})", flush=True)
            continue
        sections[part] = section.as_json() | {"seconds": time.monotonic() - began}
        print(f"\n{table(section)}", flush=True)
    folder = paths.make_state_dir(state or paths.state_dir())
    out = folder / "bench.json"
    told = {"machine": on, "small": small, "parts": sections, "failed": failed}
    out.write_text(json.dumps(told, indent=2) + "\n")
    print(f"\nwritten to {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
