"""Reading a case as people do: write, sign in one of two tabs, record, withdraw, erase."""

from __future__ import annotations

import uuid

import pytest

from tests.browser.conftest import Open
from tests.browser.test_accessibility import violations
from tests.browser.test_smoke import CASE_URL, as_file, fill_in, picture, press_submit

pytestmark = pytest.mark.browser


def test_a_case_is_read_found_out_withdrawn_and_erased(open_window: Open) -> None:
    found: list[str] = []
    window = open_window("radiologist")
    page = window.page
    accession = uuid.uuid4().hex[:8]
    fill_in(window, as_file(picture()), Accession_number=accession)
    page.get_by_label("Clock position", exact=True).select_option("2")
    page.get_by_role("group", name="Side").get_by_label("Left").check()
    press_submit(window)
    page.wait_for_url(CASE_URL)
    page.locator("#case-live:not([hx-get])").wait_for(state="attached", timeout=90_000)
    path = page.url.removeprefix(window.service.url).partition("#")[0]

    # A second tab with the same empty form.
    second = open_window("radiologist")
    second.goto(path)
    place = page.get_by_role("region", name="Finding 1: Left, 2 o'clock", exact=True)
    place.get_by_text("Write a reading").click()
    place.get_by_label("4B: moderate suspicion").check()
    place.get_by_label("Malignant").check()
    place.get_by_label("Text").fill("Irregular mass, 12 mm.")
    found += violations(window, "case with a form")
    place.get_by_role("button", name="Save draft").click()
    page.get_by_text("Draft saved.").wait_for()

    other = second.page.get_by_role("region", name="Finding 1: Left, 2 o'clock", exact=True)
    other.get_by_text("Write a reading").click()
    other.get_by_label("Text").fill("Typed in the other tab.")
    # Where typing took long it was told already that the draft cannot be kept: on the page before.
    with second.page.expect_navigation():
        other.get_by_role("button", name="Save draft").click()
    second.page.get_by_text("This draft was saved elsewhere").wait_for()
    assert second.page.get_by_label("Text").input_value() == "Typed in the other tab."
    found += violations(second, "second tab")

    place.get_by_role("button", name="Sign reading").click()
    page.get_by_text("Reading signed.").wait_for()
    place.get_by_text("An answer of the model had been seen.").wait_for()
    outcome = page.get_by_role("region", name="Outcome of finding 1", exact=True)
    outcome.get_by_text("Record the outcome").click()
    outcome.get_by_label("It turned out to be").select_option("invasive")
    outcome.get_by_label("Known by").select_option("histology")
    outcome.get_by_role("button", name="Record outcome").click()
    page.get_by_text("Outcome recorded.").wait_for()
    window.goto(f"{path}patient/")
    found += violations(window, "wrong patient")

    admin = open_window("admin")
    admin.goto(path)
    admin.page.get_by_role("link", name="Withdraw this answer").click()
    admin.page.get_by_text("1 signed reading names it").wait_for()
    found += violations(admin, "withdraw")
    admin.page.get_by_label("Reason").fill("Read with the wrong preset.")
    admin.page.get_by_role("button", name="Withdraw the answer").click()
    admin.page.get_by_text("Do not use this answer.").wait_for()
    found += violations(admin, "withdrawn")
    window.goto(path)
    window.picture("case-read")
    admin.page.get_by_role("link", name="Erase the patient's data").click()
    admin.page.get_by_role("heading", name="What will be gone, for good").wait_for()
    found += violations(admin, "erase")
    admin.page.get_by_label("Reason").fill("Asked for in writing.")
    admin.page.get_by_role("button", name="Erase 1 image").click()
    admin.page.get_by_role("heading", name="The data of this patient was erased").wait_for()
    found += violations(admin, "erased")
    window.goto(path)
    page.get_by_role("heading", name="The data of this patient was erased").wait_for()
    assert found == []
