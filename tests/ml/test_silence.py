"""What is loaded sends nothing to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_onnx_runtime_starts_no_telemetry(tmp_path: Path) -> None:
    """At import it would make an id for this machine in the home folder and start a sender."""
    pytest.importorskip("onnxruntime")
    told = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run(
        [sys.executable, "-c", "import ml, onnxruntime"],
        cwd=ROOT,
        env={**told, **home},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []
