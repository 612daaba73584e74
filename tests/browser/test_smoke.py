"""The main job as people do it: sign in, submit, watch the answer appear, look at it."""

from __future__ import annotations

import base64
import uuid
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import Open, Watched
from tests.live import LiveService, paused
from tests.phantoms import Lesion, bmode_phantom, dicom_bytes, jpeg_bytes

pytestmark = pytest.mark.browser

CASE_URL = "**/cases/*-*/"


def picture(lesion: Lesion = "malignant") -> bytes:
    return jpeg_bytes(bmode_phantom(seed=uuid.uuid4().int % 2**31, lesion=lesion))


def as_file(data: bytes, name: str = "phantom.jpg") -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def fill_in(window: Watched, *files: dict[str, Any], **fields: str) -> None:
    window.goto("/submit/")
    page = window.page
    page.get_by_label("Patient id", exact=True).fill(f"B-{uuid.uuid4().hex[:8]}")
    page.get_by_label("Name", exact=True).fill("Phantom, Petra")
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)
    if files:
        page.get_by_label("Files").set_input_files(list(files))


def press_submit(window: Watched) -> None:
    window.page.get_by_role("button", name="Submit case").click()


def submissions_of(service: LiveService, accession: str) -> int:
    rows = service.sql(
        "SELECT count(*) FROM cases_submission s JOIN cases_case c ON c.id = s.case_id "
        "WHERE c.accession_number = %s",
        accession,
    )
    count: int = rows[0][0]
    return count


def reader_paused(service: LiveService) -> AbstractContextManager[None]:
    """Hold the inference worker still, so that a page is surely there before its answer."""
    return paused([service.pid_of("inference")])


def test_an_image_is_submitted_and_its_answer_appears_without_a_reload(
    open_window: Open, live_service: LiveService
) -> None:
    window = open_window("radiologist")
    page = window.page
    fill_in(window, as_file(picture()), Accession_number=uuid.uuid4().hex[:8])
    with reader_paused(live_service):
        press_submit(window)
        page.wait_for_url(CASE_URL)
        card = page.get_by_role("article", name="Answer for image 1")
        card.get_by_text("Waiting").wait_for()
        window.picture("case-waiting")
        page.evaluate("window.stillTheSamePage = true")
    card.locator(".scores, .headline").first.wait_for(timeout=60_000)
    assert page.evaluate("window.stillTheSamePage") is True
    assert "Image 1:" in page.locator("#case-news").inner_text()
    assert page.get_by_text("in 1 of 1 images answered").count() == 1
    # Nothing is asked for any more.
    assert page.locator("[hx-get][hx-trigger]").count() == 0
    window.picture("case-answered")


def test_the_heatmap_is_off_until_it_is_wanted(open_window: Open) -> None:
    window = open_window("radiologist")
    page = window.page
    fill_in(window, as_file(picture()))
    press_submit(window)
    toggle = page.get_by_label("Show heatmap")
    toggle.wait_for(timeout=60_000)
    heat = page.locator("img.heat")
    assert not toggle.is_checked()
    assert not heat.is_visible()
    # Fetched when it is first wanted, not before.
    with page.expect_response("**/heatmap/"):
        toggle.check()
    heat.wait_for()
    heat.evaluate("image => image.decode()")
    assert heat.evaluate("image => image.naturalWidth") > 0
    window.picture("case-heatmap")
    toggle.uncheck()
    assert not heat.is_visible()


def test_files_are_dropped_listed_and_removed(open_window: Open) -> None:
    window = open_window("sonographer")
    page = window.page
    fill_in(window)
    data = {"one.jpg": picture("benign"), "two.jpg": picture("normal")}
    page.locator("#drop-zone").evaluate(
        """(zone, files) => {
          const carried = new DataTransfer();
          for (const [name, text] of Object.entries(files)) {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            carried.items.add(new File([bytes], name));
          }
          zone.dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true}));
        }""",
        {name: base64.b64encode(content).decode() for name, content in data.items()},
    )
    chosen = page.get_by_role("list", name="Chosen")
    chosen.get_by_role("listitem").nth(1).wait_for()
    names = chosen.locator(".file-name").all_inner_texts()
    assert names == ["one.jpg", "two.jpg"]
    page.get_by_role("button", name="Remove two.jpg").click()
    assert chosen.get_by_role("listitem").count() == 1
    press_submit(window)
    page.wait_for_url(CASE_URL)
    assert page.get_by_text("1 image submitted.").count() == 1
    assert page.get_by_text("one.jpg").count() == 1


def test_a_refused_file_keeps_the_form_the_files_and_the_focus(open_window: Open) -> None:
    window = open_window("sonographer")
    page = window.page
    files = [as_file(b"this is text", "notes.png"), as_file(picture())]
    fill_in(window, *files, Name="Doe, Jane")
    press_submit(window)
    summary = page.locator("#error-summary")
    summary.wait_for()
    assert "“notes.png”:" in summary.inner_text()
    assert summary.evaluate("element => element === document.activeElement")
    assert page.get_by_label("Name", exact=True).input_value() == "Doe, Jane"
    assert page.get_by_role("list", name="Chosen").get_by_role("listitem").count() == 2
    window.picture("submit-refused")
    page.get_by_role("button", name="Remove notes.png").click()
    press_submit(window)
    page.wait_for_url(CASE_URL)


def test_a_double_click_makes_one_submission(open_window: Open, live_service: LiveService) -> None:
    window = open_window("sonographer")
    accession = uuid.uuid4().hex[:12]
    fill_in(window, as_file(picture()), Accession_number=accession)
    window.page.get_by_role("button", name="Submit case").dblclick()
    window.page.wait_for_url(CASE_URL)
    assert submissions_of(live_service, accession) == 1


def test_a_dropped_connection_loses_nothing_and_sends_nothing_twice(
    open_window: Open, live_service: LiveService
) -> None:
    window = open_window("sonographer")
    page = window.page
    accession = uuid.uuid4().hex[:12]
    fill_in(window, as_file(picture()), Accession_number=accession)

    def lose_the_answer(route: Any) -> None:
        if route.request.method == "POST":
            route.fetch(max_redirects=0)
            route.abort()
        else:
            route.continue_()

    page.route("**/submit/", lose_the_answer)
    press_submit(window)
    page.get_by_text("The case could not be sent").wait_for()
    window.faults.clear()
    page.unroute("**/submit/")
    # By the button, or by itself if it was faster: then it may have left the page.
    page.evaluate("document.getElementById('try-again')?.click()")
    page.wait_for_url(CASE_URL)
    # It may have tried again by itself before the network was back.
    window.forgive_cut_off()
    assert submissions_of(live_service, accession) == 1


def test_everything_works_without_script(open_window: Open) -> None:
    window = open_window("radiologist", java_script_enabled=False)
    page = window.page
    fill_in(window, as_file(picture()), Accession_number=uuid.uuid4().hex[:8])
    press_submit(window)
    page.wait_for_url(CASE_URL)
    # The page refreshes itself until the answer is there.
    page.locator("article .headline").wait_for(timeout=90_000)
    page.get_by_role("link", name="Worklist").first.click()
    page.get_by_role("heading", name="Worklist").wait_for()
    page.get_by_label("Order").select_option("Newest first")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_load_state()
    assert page.locator(".score-line", has_text="malignant score").count() >= 1


def test_a_cine_shows_its_frame_and_another_one_on_request(open_window: Open) -> None:
    frames = np.stack([bmode_phantom(seed=n, size=(240, 300)) for n in range(6)])
    window = open_window("radiologist")
    page = window.page
    window.goto("/submit/")
    cine = dicom_bytes(frames, patient_id=f"B-{uuid.uuid4().hex[:8]}")
    page.get_by_label("Files").set_input_files([as_file(cine, "CINE0001")])
    press_submit(window)
    page.wait_for_url(CASE_URL)
    page.get_by_label("Ask about frame").wait_for(timeout=60_000)
    page.get_by_label("Ask about frame").fill("6")
    page.get_by_role("button", name="Ask the live model again").click()
    page.get_by_role("heading", name="Image 1, frame 6 of 6").wait_for()
    page.locator("article").get_by_text("Frame 6 of 6").first.wait_for(timeout=60_000)
    window.picture("case-cine")


def test_the_worklist_shows_a_new_answer_by_itself(
    open_window: Open, live_service: LiveService
) -> None:
    window = open_window("radiologist")
    page = window.page
    accession = uuid.uuid4().hex[:12]
    fill_in(window, as_file(picture()), Accession_number=accession)
    with reader_paused(live_service):
        press_submit(window)
        page.wait_for_url(CASE_URL)
        window.goto("/cases/?order=newest")
        row = page.get_by_role("row", name=accession)
        row.get_by_text("Waiting").wait_for()
        page.get_by_role("link", name=accession).focus()
    row.get_by_text("malignant score").wait_for(timeout=60_000)
    # The place in the list is kept: the link that had the focus has it still.
    assert page.evaluate("document.activeElement.textContent.trim()") == accession
    window.picture("worklist")


def test_the_keyboard_reaches_the_content_first_and_then_every_place(open_window: Open) -> None:
    window = open_window("radiologist")
    page = window.page
    window.goto("/cases/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
