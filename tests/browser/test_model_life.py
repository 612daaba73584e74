"""A second model goes live by two people in real browsers, answers, is stopped, and goes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open, Watched
from tests.browser.test_accessibility import violations
from tests.browser.test_smoke import picture
from tests.live import ROOT, LiveService, wait_for
from tests.tests_only_model import write_tests_only_model

pytestmark = pytest.mark.browser

# What a training run does at its end; the rest of this story is pressed in browsers.
GATE = """
from cases.access import SYSTEM
from cases.models import ModelVersion
from cases.services.learning import model_gate_record
gate = {"state": "passed", "plan_sha256": "ab" * 32, "limits": [
    {"name": "sensitivity", "state": "passed", "limit": 0.9, "value": 0.94}]}
model = ModelVersion.objects.get(version="VERSION")
model_gate_record(actor=SYSTEM, model_id=model.pk, gate=gate)
"""


def manage(service: LiveService, *arguments: str) -> None:
    """A command on the running service, as an administrator types it."""
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    env.pop("SECRET_KEY", None)
    env["BCWEB_STATE"] = str(service.state)
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, check=True)


def answer(service: LiveService) -> dict[str, Any]:
    """Send an image as a system does; its job at the end."""
    with service.api() as api:
        sent = api.post(
            "/submissions/",
            data={"patient_id": f"LIFE-{uuid.uuid4().hex[:8]}"},
            files={"file": ("a.jpg", picture())},
        ).json()
        job = sent["jobs"][0]["id"]

        def ended() -> Any:
            told = api.get(f"/jobs/{job}/").json()
            return told if told["state"] == "SUCCEEDED" else None

        found: dict[str, Any] = wait_for("an answer", ended, seconds=120)
        return found


def press(window: Watched, form: str, reason: str, button: str) -> None:
    window.page.locator(f"#{form}-reason").fill(reason)
    window.page.get_by_role("button", name=button, exact=True).click()


def test_a_model_goes_live_by_two_people_is_stopped_and_goes_back(
    open_window: Open, live_service: LiveService, tmp_path: Path
) -> None:
    version = f"second-{uuid.uuid4().hex[:6]}"
    file = tmp_path / f"{version}.safetensors"
    write_tests_only_model(file, version=version, texture_score=-2.0)
    manage(live_service, "import_model", str(file))
    first = answer(live_service)["result"]["model"]
    admin, approver = open_window("admin"), open_window("approver", color_scheme="dark")
    found: list[str] = []

    def look(window: Watched, place: str) -> None:
        found.extend(violations(window, place))
        window.picture(f"life-{place}")

    admin.goto("/models/")
    admin.page.get_by_role("link", name=version).click()
    admin.page.get_by_text("No gate was run on this model, so it cannot go live").wait_for()
    look(admin, "candidate")
    manage(live_service, "shell", "-c", GATE.replace("VERSION", version))
    admin.page.reload()
    admin.page.get_by_label("Live: answers every new image").check()
    press(admin, "ask", "It found more on our devices.", "Ask an approver")
    admin.page.get_by_text("An approver who is not you decides").first.wait_for()

    approver.goto("/models/")
    approver.page.get_by_role("link", name=f"{version} to go live").click()
    look(approver, "request")
    press(approver, "approve", "", "Approve")
    approver.page.locator("#error-summary").wait_for()
    look(approver, "request-refused")
    press(approver, "approve", "I read the figures.", "Approve")
    approver.page.get_by_text("The model is live for new images").wait_for()

    # No process was started anew in between.
    second = answer(live_service)["result"]["model"]
    assert second["version"] == version

    admin.goto("/models/answering/")
    press(admin, "suspend", "Strange heatmaps.", "Suspend answers")
    admin.page.get_by_role("heading", name="Answers are suspended").wait_for()
    look(admin, "suspended")
    with live_service.api() as api:
        sent = api.post(
            "/submissions/",
            data={"patient_id": f"LIFE-{uuid.uuid4().hex[:8]}"},
            files={"file": ("a.jpg", picture())},
        )
        assert sent.status_code == 202
        waiting = sent.json()["jobs"][0]["id"]
        assert api.get(f"/jobs/{waiting}/").json()["held"]["detail"] == "Strange heatmaps."

        approver.goto(f"/models/{first['id']}/")
        look(approver, "roll-back")
        press(approver, "back", "Strange heatmaps.", "Roll back to this model")
        approver.page.get_by_text(f"{first['version']} is live again").wait_for()
        admin.goto("/models/answering/")
        press(admin, "resume", "The other model is back.", "Resume answers")
        admin.page.get_by_role("heading", name="Images are being answered").wait_for()

        def told() -> Any:
            job = api.get(f"/jobs/{waiting}/").json()
            return job["result"]

        # What waited for the model rolled back from is answered by the one that came back.
        assert wait_for("the answer", told, seconds=120)["model"]["id"] == first["id"]
        live = api.get("/models/live/").json()
        assert live["id"] == first["id"]
    admin.goto("/models/live/")
    look(admin, "which-was-live")
    admin.goto(f"/models/{second['id']}/recall/")
    look(admin, "recall")
    admin.goto(f"/models/{second['id']}/shadow/")
    look(admin, "shadow")
    assert json.dumps(found) == "[]"
