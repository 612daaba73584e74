"""The worklist by keyboard: move, tick, run again, search, help; and rows that renew themselves."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.test_accessibility import violations
from tests.browser.test_smoke import picture, reader_paused
from tests.live import LiveService, wait_for

pytestmark = pytest.mark.browser


def send(service: LiveService, accession: str, **fields: str) -> str:
    """A case by the API: its job's address."""
    with service.api() as client:
        answer = client.post(
            "/submissions/",
            data={"patient_id": f"B-{accession}", "accession_number": accession, **fields},
            files={"file": ("scan.jpg", picture())},
        )
    assert answer.status_code == 202, answer.text
    url: str = answer.json()["jobs"][0]["url"]
    return url


def await_answer(service: LiveService, url: str) -> None:
    with service.api() as client:
        wait_for("an answer", lambda: client.get(url).json()["state"] == "SUCCEEDED", seconds=90)


def focused(page: Any) -> str:
    text: str = page.evaluate("document.activeElement.textContent.trim()")
    return text


def test_cases_are_chosen_and_run_again_by_keyboard_and_rows_keep_their_place(
    open_window: Open, live_service: LiveService
) -> None:
    names = [f"K{n}{uuid.uuid4().hex[:8]}" for n in range(3)]
    for url in [send(live_service, name, patient_name=f"Keys^{name}") for name in names]:
        await_answer(live_service, url)
    window = open_window("radiologist")
    page = window.page
    window.goto("/cases/?order=newest")
    assert violations(window, "worklist") == []
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys of the worklist").wait_for()
    assert violations(window, "keys") == []
    window.picture("worklist-keys")
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Keys of the worklist").wait_for(state="hidden")
    # The newest case stands on top.
    page.keyboard.press("j")
    assert focused(page) == names[2]
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    assert focused(page) == names[0]
    page.keyboard.press("k")
    assert focused(page) == names[1]
    page.get_by_text("2 cases ticked:").wait_for()
    window.picture("worklist-ticked")
    with reader_paused(live_service):
        page.get_by_role("button", name="Run again").press("Enter")
        page.get_by_text("2 images of 2 cases will be run again").wait_for()
        assert violations(window, "bulk") == []
        window.picture("worklist-bulk")
        page.get_by_role("button", name="Run 2 images again").press("Enter")
        page.get_by_text("2 images of 2 cases asked for again.").wait_for()
        page.get_by_role("link", name="Back to the worklist").press("Enter")
        row = page.get_by_role("row", name=names[1])
        row.get_by_text("Waiting").wait_for()
        # The keys work once the page's scripts have run.
        page.wait_for_load_state()
        for key in ("j", "j", "x"):
            page.keyboard.press(key)
        page.evaluate("window.stillTheSamePage = true")
    # The answers come by themselves: focus and tick are where they were.
    row.get_by_text("Processed").wait_for(timeout=90_000)
    assert page.evaluate("window.stillTheSamePage") is True
    assert focused(page) == names[1]
    # Ticked anew a moment after the rows have come.
    row.get_by_role("checkbox", checked=True).wait_for(state="attached")
    # Said aloud, of whichever of the two changed last.
    either = re.compile(f"({names[1]}|{names[2]}): ")
    page.locator("#worklist-news", has_text=either).wait_for(state="attached")
    # What is typed in a field is no command.
    page.keyboard.press("/")
    page.keyboard.type(f"keys {names[0].lower()}")
    page.keyboard.press("Enter")
    page.get_by_text("1 case fits your search.").wait_for()
    page.wait_for_load_state()
    assert names[0] not in page.url
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases/*-*/")
    page.go_back()
    page.get_by_text("1 case fits your search.").wait_for()
