"""Behind a pooler in transaction mode nothing is asked for that outlives a transaction."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def database(**told: str) -> dict[str, Any]:
    code = "import json; from bcweb import settings; print(json.dumps(settings.DATABASES))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)["default"]
    return found


def test_a_connection_of_our_own_brings_its_words_and_cursors() -> None:
    told = database()
    assert "lock_timeout" in told["OPTIONS"]["options"]
    assert told["DISABLE_SERVER_SIDE_CURSORS"] is False


def test_a_poolers_connection_brings_neither() -> None:
    told = database(BCWEB_POOLER="1")
    assert set(told["OPTIONS"]) == {"connect_timeout"}
    assert told["DISABLE_SERVER_SIDE_CURSORS"] is True
