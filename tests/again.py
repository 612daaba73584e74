"""Run what failed again, alone: ``python -m tests.again``, after a run that ended with failures.

Five thousand tests that talk to real processes share two cores with them, and now and then one
loses a race that it wins on a quiet machine. Up to ``MOST`` failed tests are run again alone,
``TIMES`` times over; each must pass every time. What is broken fails again, what fails one time in
two is found out seven times in eight. The log names them: such a test is to be mended, not kept.
Exit code 0: all passed; 1: they did not, too many failed, or the run before did not come to its
end.

As a plugin of pytest (``-p tests.again``) it keeps the record of a run that this needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MOST = 3
TIMES = 3
RECORD = Path(".pytest_cache/again.json")
# Where a run that is one of the three leaves its own.
OTHER_RECORD = "BCWEB_TESTS_RECORD"

# Not pytest's record of what failed last: from that a crashed test vanishes which passes when its
# process has been replaced.
_failed: dict[str, None] = {}
_passed: dict[str, None] = {}
_ended: set[str] = set()


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _failed[report.nodeid] = None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _ended.add(report.nodeid)
    if report.failed:
        _failed[report.nodeid] = None
    elif report.when == "call" and report.passed:
        _passed[report.nodeid] = None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return
    # A run may break off with the exit code of one whose tests failed.
    whole = int(exitstatus) == 1 and len(_ended) == session.testscollected
    told = {"whole": whole, "failed": list(_failed), "passed": list(_passed)}
    record = session.config.rootpath / os.environ.get(OTHER_RECORD, RECORD)
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps(told))


def main() -> int:
    before = _told(RECORD)
    failed: list[str] = sorted(before["failed"]) if before["whole"] else []
    if not 1 <= len(failed) <= MOST:
        print(f"again: {len(failed)} tests to run again, at most {MOST} are", file=sys.stderr)
        return 1
    names, record = RECORD.with_name("again.txt"), RECORD.with_name("again-once.json")
    names.write_text("\n".join(failed) + "\n")
    environment = {**os.environ, OTHER_RECORD: str(record)}
    command = [sys.executable, "-m", "pytest", f"@{names}"]
    for number in range(1, TIMES + 1):
        print(f"again: run {number} of {TIMES} of {', '.join(failed)}", file=sys.stderr, flush=True)
        record.unlink(missing_ok=True)
        code = subprocess.run(command, check=False, env=environment).returncode
        passed = _told(record)["passed"]
        # A skipped test has not passed. What could not be collected is a file, or a class.
        if code or not all(any(_is_in(one, name) for one in passed) for name in failed):
            return 1
    print(f"again: passed {TIMES} times alone, TO BE MENDED: {', '.join(failed)}", file=sys.stderr)
    return 0


def _told(record: Path) -> dict[str, Any]:
    if not record.exists():
        return {"whole": False, "failed": [], "passed": []}
    told: dict[str, Any] = json.loads(record.read_text())
    return told


def _is_in(test: str, name: str) -> bool:
    return test == name or test.startswith(f"{name}::")


if __name__ == "__main__":
    sys.exit(main())
