"""A site reads first: withheld, read, signed, shown; and back to normal."""

from __future__ import annotations

import uuid

import pytest

from tests.browser.conftest import Open, Watched
from tests.browser.test_accessibility import violations
from tests.browser.test_smoke import CASE_URL, as_file, fill_in, picture, press_submit

pytestmark = pytest.mark.browser


def switch(admin: Watched, button: str) -> None:
    admin.goto("/reader-first/")
    admin.page.get_by_label("Reason").fill("A story in a browser.")
    admin.page.get_by_role("button", name=button).click()
    admin.page.locator("#messages .notice").wait_for()


def test_a_reader_commits_before_the_answer_is_shown(open_window: Open) -> None:
    admin = open_window("admin")
    switch(admin, "Read first from now on")
    try:
        found = story(open_window, admin)
    finally:
        # The service is shared with other stories.
        switch(admin, "Show answers from the start")
    assert found == []


def story(open_window: Open, admin: Watched) -> list[str]:
    window = open_window("radiologist")
    page = window.page
    fill_in(window, as_file(picture()), Accession_number=uuid.uuid4().hex[:8])
    page.get_by_label("Clock position", exact=True).select_option("2")
    page.get_by_role("group", name="Side").get_by_label("Left").check()
    press_submit(window)
    page.wait_for_url(CASE_URL)
    page.locator("#case-live:not([hx-get])").wait_for(state="attached", timeout=90_000)
    page.get_by_role("article").get_by_text("Answer withheld").wait_for()
    found = violations(window, "withheld")
    window.picture("reader-first")
    finding = page.get_by_role("region", name="Finding 1: Left, 2 o'clock", exact=True)
    # What is to be read next is open: the finding, then the case as a whole.
    finding.get_by_role("group", name="Shape").get_by_label("Irregular").check()
    finding.get_by_label("Not circumscribed: spiculated").check()
    finding.get_by_label("Longest axis").fill("12.5")
    # The draft keeps itself; signing goes on from it.
    finding.get_by_text("Only you see it.").wait_for()
    finding.get_by_label("4B: moderate suspicion").check()
    finding.get_by_role("button", name="Sign reading").click()
    page.get_by_text("Reading signed.").wait_for()
    finding.get_by_text("Not circumscribed: spiculated").first.wait_for()
    page.get_by_role("article").get_by_text("Answer withheld").wait_for()

    whole = page.get_by_role("region", name="The case as a whole", exact=True)
    whole.get_by_label("4B: moderate suspicion").check()
    whole.get_by_label("Text", exact=True).fill("One suspicious mass.")
    whole.get_by_role("button", name="Sign reading").click()
    page.get_by_text("Reading signed.").wait_for()
    whole.get_by_text("Signed before the model's answer was shown.").wait_for()
    page.get_by_text("What it rests on").first.wait_for()
    found += violations(window, "shown")
    window.picture("reader-first-shown")

    admin.goto("/reader-first/changes/")
    admin.page.get_by_role("heading", name="By category").wait_for()
    found += violations(admin, "what readers changed")
    admin.picture("reading-changes")
    return found
