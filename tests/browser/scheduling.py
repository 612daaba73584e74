"""A schedule of trainings as an administrator handles it in a browser.

Added and changed at the portal; fired by the scheduler that ran all along.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from tests.browser.conftest import Watched
from tests.live import wait_for

# It fires each minute, and a busy worker may take a while.
FIRES_S = 400
# A training ends between two steps when it is called off.
ENDS_MS = 400_000
Look = Callable[[Watched, str], None]


def add_schedule(admin: Watched, look: Look) -> None:
    """Every seven days at first; then each minute, where at least four new images are there."""
    page = admin.page
    admin.goto("/training/schedules/")
    page.get_by_role("link", name="Add a schedule").first.click()
    page.get_by_label("Name", exact=True).fill(f"story {uuid.uuid4().hex[:6]}")
    page.get_by_label("Every so often", exact=True).check()
    page.get_by_label("Every", exact=True).fill("7")
    page.get_by_label("Only with at least so many new labelled images", exact=True).fill("4")
    page.get_by_label("Epochs", exact=True).fill("1")
    page.get_by_label("Input size", exact=True).fill("64")
    look(admin, "schedule-form")
    page.get_by_role("button", name="Add schedule").click()
    page.get_by_role("heading", name="Every 7 days").wait_for()
    page.get_by_text("It has not fired yet.").wait_for()
    page.get_by_text("Change this schedule").click()
    page.get_by_label("At set times (a cron line)").check()
    page.get_by_label("Cron line", exact=True).fill("* * * * *")
    page.get_by_role("button", name="Change schedule").click()
    page.get_by_role("heading", name="Every minute").wait_for()


def firings(window: Watched, outcome: str) -> int:
    """How often the story's schedule came to this."""
    rows = window.service.sql(
        "SELECT count(*) FROM cases_schedulefiring f JOIN cases_trainingschedule s "
        "ON s.id = f.schedule_id WHERE s.name LIKE 'story %%' AND f.outcome = %s",
        outcome,
    )
    count: int = rows[0][0]
    return count


def open_schedule(admin: Watched) -> None:
    admin.goto("/training/schedules/")
    admin.page.get_by_role("link", name="story ").click()
    admin.page.get_by_role("heading", name="What came of it").wait_for()


def not_met(admin: Watched, look: Look) -> None:
    wait_for("a firing", lambda: firings(admin, "not_met"), seconds=FIRES_S, every=0.3)
    open_schedule(admin)
    row = admin.page.get_by_role("row", name="Condition not met").first
    assert (
        "0 new labelled images in the newest snapshot since the last finished training; "
        "4 are needed." in row.inner_text()
    )
    assert admin.page.get_by_role("row", name="Started a training").count() == 0
    look(admin, "schedule-not-met")


def met(admin: Watched, look: Look) -> None:
    """The schedule starts a training that is called off."""
    page = admin.page
    wait_for(
        "a training by schedule", lambda: firings(admin, "started"), seconds=FIRES_S, every=0.3
    )
    open_schedule(admin)
    page.get_by_role("button", name="Switch it off").click()
    page.get_by_text("Off: it does not fire").wait_for()
    row = page.get_by_role("row", name="Started a training")
    assert "4 new labelled images in the newest snapshot since" in row.inner_text()
    look(admin, "schedule-met")
    row.get_by_role("link").click()
    page.get_by_text("schedule story").first.wait_for()
    page.get_by_text("Call this training off").click()
    page.get_by_label("Why", exact=True).fill("Enough was seen.")
    page.get_by_role("button", name="Cancel training").click()
    page.get_by_text("The live model still answers.").wait_for(timeout=ENDS_MS)
    look(admin, "called-off")
