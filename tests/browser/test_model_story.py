"""The life of a model on the real service, by two people in real browsers.

From pictures and a declared plan over a training watched live to its verdict, a second person's
word, an answer, a stop, a rollback, and the question which model was live in between. Nothing is
made up: the training worker trains a real network (small pictures, few epochs) and judges it.
"""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bcweb.embedded import linux
from tests.browser.conftest import Open, Watched
from tests.browser.scheduling import Look, add_schedule, met, not_met
from tests.browser.test_accessibility import violations
from tests.browser.test_smoke import CASE_URL, as_file, fill_in, picture, press_submit
from tests.busi import write_busi
from tests.live import LiveService, paused, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]

EPOCHS = 4
# A network learns, is measured and judged meanwhile; looking must not keep it from that.
LONG_S = 400
LONG_MS = 1000 * LONG_S
EVERY_S = 0.3


@pytest.fixture
def found() -> list[str]:
    """What axe finds on the pages of the story."""
    return []


@pytest.fixture
def look(found: list[str]) -> Look:
    def looked(window: Watched, place: str) -> None:
        found.extend(violations(window, place))
        window.picture(f"story-{place}")

    return looked


def test_a_model_is_trained_judged_promoted_stopped_and_rolled_back(
    open_window: Open, live_service: LiveService, tmp_path: Path, look: Look, found: list[str]
) -> None:
    beat = live_service.pid_of("beat")
    locked = imported(live_service, tmp_path / "Held back", (4, 4, 2), first=300)
    data = tmp_path / "Dataset_BUSI_with_GT"
    imported(live_service, data, (8, 7, 6), first=1)
    first = answer(live_service)["result"]["model"]
    admin, approver = open_window("admin"), open_window("approver", color_scheme="dark")

    declare_plan(admin, locked, look)
    start_training(admin, data.name, look)
    version = watch_training(admin, look)
    add_schedule(admin, look)

    ask_for_it(admin, version, look)
    approve(approver, version, look)
    # No process was started anew in between.
    second = answer_at_the_portal(open_window("radiologist"), version, look)

    waiting = suspend(admin, look)
    roll_back(approver, first, look)
    resume(admin)
    # What waited for the model rolled back from is answered by the one that came back.
    late = wait_for(
        "the answer", lambda: told(live_service, waiting), seconds=LONG_S, every=EVERY_S
    )
    assert late["id"] == first["id"]

    not_met(admin, look)
    imported(live_service, data, (2, 2, 0), first=500)
    which_was_live(admin, first, second, look)
    admin.goto(f"/models/{second['id']}/recall/")
    look(admin, "recall")
    admin.goto(f"/models/{second['id']}/shadow/")
    look(admin, "shadow")

    met(admin, look)
    assert live_service.pid_of("beat") == beat
    assert found == []


# Pictures and plan


def imported(service: LiveService, root: Path, counts: tuple[int, int, int], *, first: int) -> str:
    """Pictures in BUSI's layout, made known by the command; the snapshot's name."""
    write_busi(root, counts, first=first)
    report = service.manage("import_dataset", str(root), "--folds", "2")
    assert "near-duplicate groups: 0" in report
    return root.name


def choose(window: Watched, label: str, words: str) -> None:
    """Choose the newest option of a list that has these words."""
    box = window.page.get_by_label(label, exact=True)
    value = box.locator("option").filter(has_text=words).first.get_attribute("value")
    box.select_option(value=value)


def declare_plan(admin: Watched, locked: str, look: Look) -> None:
    page = admin.page
    admin.goto("/training/")
    page.get_by_role("link", name="Gate plans").click()
    page.get_by_role("link", name="Declare a plan").first.click()
    page.get_by_label("Name", exact=True).fill(f"spring {uuid.uuid4().hex[:6]}")
    choose(admin, "Locked set", f"{locked}, 10 images")
    page.get_by_label("Least number of malignant patients", exact=True).fill("4")
    # What phantoms cannot miss: the figures are no matter here, the rule is.
    for number, metric, bound, more in (
        (1, "coverage", "0", {}),
        (2, "auc_malignant", "-1", {"Holds for": "active"}),
        (3, "accuracy", "0", {"Judged by": "value"}),
    ):
        row = page.get_by_role("group", name=f"Limit {number}", exact=True)
        row.get_by_label("Metric").select_option(metric)
        row.get_by_label("Bound").fill(bound)
        for label, value in more.items():
            row.get_by_label(label).select_option(value)
    row.get_by_label("Only images of the source").fill(locked)
    page.get_by_role("checkbox", name=admin.service.demo["approver"]["username"]).check()
    page.get_by_label("Draws of the bootstrap", exact=True).fill("100")
    look(admin, "plan-form")
    page.get_by_role("button", name="Declare plan").click()
    page.get_by_role("heading", name="The locked set was used 0 times").wait_for()
    look(admin, "plan")


# The training


def start_training(admin: Watched, snapshot: str, look: Look) -> None:
    page = admin.page
    page.get_by_role("link", name="Start a training with it").click()
    choose(admin, "Snapshot", f"{snapshot}, 21 images")
    page.get_by_text("Seed, length and size").click()
    page.get_by_label("Epochs", exact=True).fill(str(EPOCHS))
    page.get_by_label("Input size", exact=True).fill("64")
    page.get_by_label("Why", exact=True).fill("Pictures of the new device.")
    look(admin, "start")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("The training is asked for.").wait_for()


def watch_training(admin: Watched, look: Look) -> str:
    """The run's page, never loaded again, up to the verdict; the version of its model."""
    admin.page.evaluate("window.stillTheSamePage = true")
    watch_epochs(admin, look)
    version = watch_verdict(admin)
    assert admin.page.evaluate("window.stillTheSamePage") is True
    # Nothing is asked for any more, and there is nothing left to call off.
    assert admin.page.locator("[hx-trigger]").count() == 0
    assert admin.page.get_by_text("Call this training off").count() == 0
    look(admin, "finished")
    return version


def watch_epochs(admin: Watched, look: Look) -> None:
    """The epoch table grows: the training is held still with a part of it, and goes on."""
    page, service = admin.page, admin.service
    run = page.url.rstrip("/").rpartition("/")[2]

    def epochs() -> int:
        rows = service.sql("SELECT count(*) FROM cases_trainingepoch WHERE run_id = %s", run)
        count: int = rows[0][0]
        return count

    rows = page.get_by_role("table", name="Epochs of this training").locator("tbody tr")
    wait_for("the first epoch", epochs, seconds=LONG_S, every=EVERY_S)
    with paused(linux.children(service.pid_of("training"))):
        rows.first.wait_for()
        assert 1 <= rows.count() < EPOCHS
        page.get_by_text(f"of {EPOCHS}, step").wait_for()
        assert page.get_by_text("Call this training off").is_visible()
        assert page.locator("pre.log-tail").inner_text()
        look(admin, "live")
    rows.nth(EPOCHS - 1).wait_for(timeout=LONG_MS)


def watch_verdict(admin: Watched) -> str:
    """The verdict comes, limit by limit; the version of the model."""
    page = admin.page
    page.get_by_role("heading", name="Verdict of the gate").wait_for(timeout=LONG_MS)
    limits = page.get_by_role("table", name="The verdict, limit by limit").locator("tbody tr")
    assert [row.locator("td").last.inner_text() for row in limits.all()] == ["Holds"] * 3
    page.get_by_text("Every limit of the plan holds.").wait_for()
    version: str = page.locator("#run-live a[href^='/models/']").first.inner_text()
    return version


# Two people


def press(window: Watched, form: str, reason: str, button: str) -> None:
    window.page.locator(f"#{form}-reason").fill(reason)
    window.page.get_by_role("button", name=button, exact=True).click()


def ask_for_it(admin: Watched, version: str, look: Look) -> None:
    admin.goto("/models/")
    look(admin, "models")
    admin.page.get_by_role("link", name=version).click()
    admin.page.get_by_label("Live: answers every new image").check()
    look(admin, "candidate")
    press(admin, "ask", "It found more on our devices.", "Ask an approver")
    admin.page.get_by_text("An approver who is not you decides").first.wait_for()
    # Who asked finds no button to decide.
    admin.page.get_by_role("link", name="To go live").click()
    admin.page.get_by_text("You asked for this, so another person decides.").wait_for()
    assert admin.page.get_by_role("button", name="Approve").count() == 0


def approve(approver: Watched, version: str, look: Look) -> None:
    approver.goto("/models/")
    approver.page.get_by_role("link", name=f"{version} to go live").click()
    approver.page.get_by_role("button", name="Approve", exact=True).wait_for()
    look(approver, "request")
    press(approver, "approve", "", "Approve")
    approver.page.locator("#error-summary").wait_for()
    look(approver, "request-refused")
    press(approver, "approve", "I read the figures.", "Approve")
    approver.page.get_by_text("The model is live for new images").wait_for()


# Answers


def answer(service: LiveService) -> dict[str, Any]:
    """Send an image as a system does; its job at the end."""
    sent = submitted(service)
    wait_for("an answer", lambda: told(service, sent), seconds=LONG_S, every=EVERY_S)
    with service.api() as api:
        job: dict[str, Any] = api.get(f"/jobs/{sent}/").json()
    return job


def submitted(service: LiveService) -> str:
    """The job of an image sent as a system does."""
    with service.api() as api:
        sent = api.post(
            "/submissions/",
            data={"patient_id": f"LIFE-{uuid.uuid4().hex[:8]}"},
            files={"file": ("a.jpg", picture())},
        )
    assert sent.status_code == 202, sent.text
    job: str = sent.json()["jobs"][0]["id"]
    return job


def told(service: LiveService, job: str) -> dict[str, Any] | None:
    """The model that has answered a job; None before."""
    with service.api() as api:
        result = api.get(f"/jobs/{job}/").json()["result"]
    return result["model"] if result else None


def answer_at_the_portal(reader: Watched, version: str, look: Look) -> dict[str, Any]:
    """An image submitted in the browser and answered there; the model of its answer."""
    fill_in(reader, as_file(picture()), Accession_number=uuid.uuid4().hex[:8])
    press_submit(reader)
    reader.page.wait_for_url(CASE_URL)
    card = reader.page.get_by_role("article", name="Answer for image 1")
    link = card.get_by_role("link", name=version)
    link.wait_for(timeout=LONG_MS)
    look(reader, "answered")
    path = link.get_attribute("href").rstrip("/")
    return {"id": path.rpartition("/")[2], "version": version}


def suspend(admin: Watched, look: Look) -> str:
    """Answers are suspended; the job of an image that waits."""
    admin.goto("/models/answering/")
    press(admin, "suspend", "Strange heatmaps.", "Suspend answers")
    admin.page.get_by_role("heading", name="Answers are suspended").wait_for()
    look(admin, "suspended")
    waiting = submitted(admin.service)
    with admin.service.api() as api:
        assert api.get(f"/jobs/{waiting}/").json()["held"]["detail"] == "Strange heatmaps."
    return waiting


def roll_back(approver: Watched, model: dict[str, Any], look: Look) -> None:
    approver.goto(f"/models/{model['id']}/")
    look(approver, "roll-back")
    press(approver, "back", "Strange heatmaps.", "Roll back to this model")
    approver.page.get_by_text(f"{model['version']} is live again").wait_for()


def resume(admin: Watched) -> None:
    admin.goto("/models/answering/")
    press(admin, "resume", "The other model is back.", "Resume answers")
    admin.page.get_by_role("heading", name="Answers are on").wait_for()


# Which model was live


def which_was_live(
    window: Watched, first: dict[str, Any], second: dict[str, Any], look: Look
) -> None:
    """Before, between and after, at the page and at the API, to the second and to the moment."""
    switched, back = moved_at(window, second), moved_at(window, first)
    assert math.ceil(switched) < back
    for at, model, place in (
        (switched - 1, first, "before"),
        (math.ceil(switched), second, "between"),
        (math.ceil(back), first, "after"),
    ):
        assert live_by_page(window, at) == model["version"]
        assert live_by_api(window, at) == model["id"]
        look(window, f"live-{place}")
    for at, model in ((switched, second), (back, first)):
        assert live_by_api(window, at) == model["id"]


def moved_at(window: Watched, model: dict[str, Any]) -> float:
    """When a model went live last, in seconds since 1970 as the database has it."""
    rows = window.service.sql(
        "SELECT max(at) FROM cases_modelevent WHERE model_version_id = %s AND to_state = 'ACTIVE'",
        model["id"],
    )
    at: float = rows[0][0].timestamp()
    return at


def live_by_page(window: Watched, at: float) -> str:
    window.goto("/models/live/")
    # A browser leaves out seconds that are none.
    typed = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}".removesuffix(":00")
    window.page.get_by_label("Date and time").fill(typed)
    window.page.get_by_role("button", name="Show", exact=True).click()
    version: str = window.page.locator("section[aria-labelledby=answer] a").inner_text()
    return version


def live_by_api(window: Watched, at: float) -> str:
    with window.service.api() as api:
        said = api.get("/models/live/", params={"at": datetime.fromtimestamp(at, UTC).isoformat()})
    assert said.status_code == 200, said.text
    model: str = said.json()["id"]
    return model
