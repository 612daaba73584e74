"""A training in a real browser: started, watched without a reload, ended; a schedule that fires."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.conftest import Open
from tests.live import ROOT, LiveService, wait_for
from tests.phantoms import bmode_phantom

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def snapshot(live_service: LiveService, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen benign and a dozen malignant phantoms, imported into the running service."""
    root = tmp_path_factory.mktemp("data") / "phantoms"
    for offset, label in ((0, "benign"), (100, "malignant")):
        (root / label).mkdir(parents=True)
        for number in range(12):
            image = bmode_phantom(offset + number, (96, 110), label)
            Image.fromarray(image).save(root / label / f"{number}.png")
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    env |= {"BCWEB_STATE": str(live_service.state)}
    env.pop("SECRET_KEY", None)
    command = [sys.executable, "manage.py", "import_dataset", str(root)]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    return root


@pytest.mark.timeout(600)
def test_a_training_is_started_and_watched_to_its_end(snapshot: Path, open_window: Open) -> None:
    window = open_window("admin")
    page = window.page
    window.goto("/training/")
    page.get_by_role("link", name="Start a training").click()
    page.get_by_label("Start from").select_option("none")
    page.get_by_text("Seed, length and size").click()
    page.get_by_label("Epochs").fill("2")
    page.get_by_label("Input size").fill("64")
    page.get_by_label("Why").fill("To see it run")
    window.picture("training-start")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("The training is asked for").wait_for()
    page.get_by_text("Epoch", exact=False).first.wait_for(timeout=240_000)
    page.locator("svg.curve").wait_for(timeout=240_000)
    window.picture("training-running")
    # The page itself tells the end: nobody reloads it.
    page.locator("#run-live .state", has_text="Finished").wait_for(timeout=300_000)
    assert page.locator("#run-actions form").count() == 0
    window.picture("training-finished")
    page.get_by_role("link", name="resnet50-bcweb").click()
    page.get_by_text("Candidate").first.wait_for()
    window.goto("/training/")
    window.picture("training-list")
    window.goto("/training/snapshots/")
    window.picture("training-snapshots")


@pytest.mark.timeout(300)
def test_a_schedule_fires_without_a_restart_and_says_why_it_started_nothing(
    snapshot: Path, open_window: Open, live_service: LiveService
) -> None:
    window = open_window("admin")
    page = window.page
    window.goto("/training/schedules/")
    page.get_by_role("link", name="Add a schedule").click()
    page.get_by_label("Name").fill("each minute")
    page.get_by_label("Cron line").fill("* * * * *")
    page.get_by_label("Only with at least").fill("1000")
    page.get_by_role("button", name="Add schedule").click()
    page.get_by_text("It needs no restart").wait_for()
    wait_for(
        "the firing",
        lambda: live_service.sql("SELECT 1 FROM cases_schedulefiring"),
        seconds=150,
    )
    page.reload()
    page.get_by_text("Condition not met").first.wait_for()
    assert "1000 are needed" in page.inner_text("main")
    window.picture("training-schedule")
