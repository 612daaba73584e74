"""Run what failed again, alone: ``python -m tests.again``, after a run that ended with failures.

Five thousand tests that talk to real processes share two cores with them, and now and then one
loses a race that it wins on a quiet machine. Up to ``MOST`` failed tests are run again alone,
``TIMES`` times over; each must pass every time. What is broken fails again, what fails one time in
two is found out seven times in eight. The log names them: such a test is to be mended, not kept.
Exit code 0: all passed; 1: they did not, too many failed, or the run before did not come to its
end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MOST = 3
TIMES = 3
CACHE = Path(".pytest_cache/v")
# In pytest's cache: the exit code of the last run. Without it, one that broke off half-way would
# look like one whose tests passed but for those that are named.
ENDED = "bcweb/ended"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    cache = getattr(session.config, "cache", None)
    if cache is not None and not os.environ.get("PYTEST_XDIST_WORKER"):
        cache.set(ENDED, int(exitstatus))


def failed_tests() -> list[str]:
    """The node ids that failed; empty where the run did not come to its end (exit code 1)."""
    ended, failed = CACHE / ENDED, CACHE / "cache/lastfailed"
    if not ended.exists() or json.loads(ended.read_text()) != 1 or not failed.exists():
        return []
    return sorted(json.loads(failed.read_text()))


def main() -> int:
    failed = failed_tests()
    if not 1 <= len(failed) <= MOST:
        print(f"again: {len(failed)} tests to run again, at most {MOST} are", file=sys.stderr)
        return 1
    names = CACHE / "again"
    names.write_text("\n".join(failed) + "\n")
    # Without the cache: the record of what failed must outlast a run that passes.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"@{names}"]
    for number in range(1, TIMES + 1):
        print(f"again: run {number} of {TIMES} of {', '.join(failed)}", file=sys.stderr, flush=True)
        if subprocess.run(command, check=False).returncode:
            return 1
    print(f"again: passed {TIMES} times alone, TO BE MENDED: {', '.join(failed)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
