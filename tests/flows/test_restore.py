"""A running service is backed up, and another one starts from what comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import ROOT, LiveService, start_live_service, wait_for
from tests.phantoms import bmode_phantom, jpeg_bytes

pytestmark = pytest.mark.flow


def submitted(api: httpx.Client, seed: int) -> dict[str, Any]:
    files = [("file", ("image.jpg", jpeg_bytes(bmode_phantom(seed=seed)), "image/jpeg"))]
    response = api.post("/submissions/", data={"patient_id": f"R{seed}"}, files=files)
    assert response.status_code == 202, response.text
    told: dict[str, Any] = response.json()
    return told


def answered(api: httpx.Client, job: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        told: dict[str, Any] = api.get(f"/jobs/{job}/").json()
        return told if told["state"] == "SUCCEEDED" else None

    return wait_for(f"job {job} answered", done, seconds=300, every=0.2)


def test_a_service_starts_from_a_backup_of_a_running_one(
    live_service: LiveService, tests_only_model: Path, tmp_path: Path
) -> None:
    out, new = tmp_path / "backup.tar", tmp_path / "restored"
    with live_service.api() as api:
        first = submitted(api, 9101)
        before = answered(api, first["jobs"][0]["id"])
        said = live_service.manage("backup", str(out))
        assert said.startswith(f"backup: {out} (")
        later = submitted(api, 9102)
    words = [sys.executable, "manage.py", "restore", str(out), "--state", str(new)]
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with start_live_service(new, BCWEB_MODEL=str(tests_only_model)) as restored:
        # The logins came along.
        assert restored.demo["integration"] == live_service.demo["integration"]
        with restored.api() as api:
            after = answered(api, first["jobs"][0]["id"])
            for fact in ("id", "outcome", "label", "probabilities", "model"):
                assert after["result"][fact] == before["result"][fact]
            image = first["images"][0]["id"]
            assert api.get(f"/images/{image}/preview/").status_code == 200
            # What came after the backup is not in it, and the service takes it in anew.
            assert api.get(f"/jobs/{later['jobs'][0]['id']}/").status_code == 404
            again = submitted(api, 9102)
            assert answered(api, again["jobs"][0]["id"])["result"] is not None
        assert "verify_storage: ok (" in restored.manage("verify_storage")
