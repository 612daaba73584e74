"""`python -m bench.fuzz --seed N --count N`: mutated files against intake, and what they did.

Exit code 0 without findings, 1 with some, 2 for bad usage. `--only NUMBER --save FILE` writes one
file of a run, to look at it; `--first` begins later, so that parts can run side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.fuzz.cases import Case, case
from bench.fuzz.run import Report, own_memory, run
from cases.intake import Limits, sandbox

OWN = "own"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--count", type=int, default=1000, help="how many files")
    made.add_argument("--first", type=int, default=0, help="number of the first file")
    made.add_argument("--only", type=int, help="this file alone")
    made.add_argument("--save", type=Path, help="with --only: write the file here")
    made.add_argument("--json", type=Path, help="write the report here")
    made.add_argument(
        "--patience",
        type=float,
        default=1,
        help="times as long by the clock for each file, where other work has the processor",
    )
    made.add_argument(
        "--http",
        nargs="?",
        const=OWN,
        metavar="URL",
        help="through this service (token in BCWEB_TOKEN), or without URL one of its own",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    first, count = options.first, options.count
    if options.only is not None:
        first, count = options.only, 1
        if options.save is not None:
            options.save.write_bytes(case(options.seed, first).data)
    if count < 1 or first < 0:
        print("Give a count above zero.", file=sys.stderr)
        return 2
    numbers = range(first, first + count)
    if options.http:
        from bench.fuzz.http_door import run_against, run_http

        files = _told(options.seed, numbers)
        token = os.environ.get("BCWEB_TOKEN", "")
        report = run_http(files) if options.http == OWN else run_against(options.http, token, files)
    else:
        with tempfile.TemporaryDirectory(prefix="bcweb-fuzz-") as folder:
            before = own_memory()
            limits = Limits(wall_s=Limits().wall_s * options.patience)
            sandbox.START_S *= options.patience
            report = run(_told(options.seed, numbers), limits, Path(folder))
            grown = own_memory() - before
        print(f"this process grew by {grown / 2**20:.0f} MiB")
    tell(report)
    if options.json is not None:
        options.json.write_text(json.dumps(vars(report), indent=1))
    return 1 if report.findings else 0


def _told(seed: int, numbers: range) -> Iterator[Case]:
    """The files, with a line every thousand."""
    for done, number in enumerate(numbers):
        if done and done % 1000 == 0:
            print(f"{done} of {len(numbers)}", file=sys.stderr, flush=True)
        yield case(seed, number)


def tell(report: Report) -> None:
    """Print what was found, faults last."""
    rate = report.files / report.seconds if report.seconds else 0.0
    print(f"{report.files} files in {report.seconds:.0f} s ({rate:.1f}/s)")
    _table("answers", report.answers)
    _table("on the way", report.events)
    for event, example in report.examples.items():
        print(f"  {event}: first by file {example}")
    print(f"slowest {report.slowest_s:.1f} s: {report.slowest}")
    print(f"most processor time {report.busiest_s:.1f} s: {report.busiest}")
    print(f"most memory {report.largest_bytes / 2**20:.0f} MiB: {report.largest}")
    for finding in report.findings:
        print(f"FINDING {finding}")
    print(f"findings: {len(report.findings)}")


def _table(title: str, counts: Counter[str]) -> None:
    print(title)
    for name, count in counts.most_common():
        print(f"  {count:>7}  {name}")


if __name__ == "__main__":
    sys.exit(main())
