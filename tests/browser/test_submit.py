"""Submitting as people do: a folder, headers that fill the form in, a network that drops."""

from __future__ import annotations

import base64
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.test_accessibility import violations
from tests.browser.test_smoke import CASE_URL, as_file, picture, press_submit, submissions_of
from tests.live import LiveService
from tests.phantoms import bmode_phantom, dicom_bytes

pytestmark = pytest.mark.browser

DROP = """([name, text]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
  document.querySelector("h1").dispatchEvent(
    new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
}"""


def drop(page: Any, name: str, data: bytes) -> None:
    """Drop a file somewhere on the page."""
    page.evaluate(DROP, [name, base64.b64encode(data).decode()])


def study(accession: str, patient: str, seed: int) -> bytes:
    return dicom_bytes(
        bmode_phantom(seed=seed, size=(240, 300)), patient_id=patient, accession=accession
    )


def test_a_folder_fills_the_form_in_and_survives_a_lost_network(
    open_window: Open, live_service: LiveService, tmp_path: Path
) -> None:
    accession, patient = uuid.uuid4().hex[:10], f"B-{uuid.uuid4().hex[:8]}"
    folder = tmp_path / "US"
    folder.mkdir()
    seed = uuid.uuid4().int % 2**31
    (folder / "IM1").write_bytes(study(accession, patient, seed))
    (folder / "IM2").write_bytes(study(accession, patient, seed + 1))
    (folder / "Thumbs.db").write_bytes(b"x")
    window = open_window("sonographer")
    page = window.page
    window.goto("/submit/")
    page.get_by_label("Name", exact=True).fill("Somebody, Else")
    page.locator("#folder").set_input_files(folder)
    page.get_by_text("2 files checked.").wait_for()
    chosen = page.get_by_role("list", name="Chosen")
    assert chosen.locator(".file-name").all_inner_texts() == ["IM1", "IM2"]
    # Empty fields are filled in; what was typed is kept, and the difference told beside it.
    assert page.get_by_label("Patient id", exact=True).input_value() == patient
    assert page.get_by_label("Date of birth").input_value() == "1970-01-02"
    name = page.get_by_label("Name", exact=True)
    assert name.input_value() == "Somebody, Else"
    page.get_by_text("The DICOM header of IM1 says Phantom, Anna.").wait_for()
    assert "patient_name-header" in name.get_attribute("aria-describedby")
    assert violations(window, "submit-header") == []
    window.picture("submit-header")
    page.get_by_role("button", name="Use the header's name").click()
    assert name.input_value() == "Phantom, Anna"
    # A picture that is none is told at once, with the server's reason where it has to say.
    drop(page, "cut.jpg", picture()[:3000])
    chosen.get_by_text("cut off").wait_for()
    drop(page, "notes.txt", b"only words")
    chosen.get_by_text("text, not an image").wait_for()
    window.picture("submit-checked")
    for bad in ("cut.jpg", "notes.txt"):
        page.get_by_role("button", name=f"Remove {bad}").click()
    page.context.set_offline(True)
    press_submit(window)
    page.get_by_text("The case could not be sent: the connection was lost.").wait_for()
    assert violations(window, "submit-offline") == []
    window.picture("submit-offline")
    window.faults.clear()
    page.context.set_offline(False)
    page.wait_for_url(CASE_URL)
    window.faults.clear()
    assert submissions_of(live_service, accession) == 1
    assert page.get_by_text("2 images submitted.").count() == 1


def test_each_file_becomes_a_case_and_an_ended_session_goes_on_after_signing_in(
    open_window: Open, live_service: LiveService
) -> None:
    window = open_window("sonographer")
    page = window.page
    accession = uuid.uuid4().hex[:10]
    window.goto("/submit/")
    seed = uuid.uuid4().int % 2**31
    files = [
        as_file(study(f"{accession}{n}", f"B-{accession}{n}", seed + n), f"IM{n}") for n in range(2)
    ]
    page.get_by_label("Files", exact=True).set_input_files([*files, as_file(b"words", "x.png")])
    page.get_by_label("Each file is a case of its own").check()
    for n in range(2):
        # No look is on its way any more when the session ends.
        page.get_by_text(f"Header: B-{accession}{n}").wait_for()
    assert page.get_by_label("Patient id", exact=True).input_value() == ""
    cookies = page.context.cookies()
    page.context.clear_cookies(name="sessionid")
    press_submit(window)
    page.get_by_text("Your session has ended, so the case was not sent.").wait_for()
    window.picture("submit-session")
    # Somebody signs in in another tab: the session's cookie is another one, as is the form's.
    other = page.context.new_page()
    login = live_service.demo["sonographer"]
    other.goto(f"{live_service.url}/sign-in/")
    other.get_by_label("User name").fill(login["username"])
    other.get_by_label("Password").fill(login["password"])
    other.get_by_role("button", name="Sign in").click()
    other.get_by_role("button", name="Sign out").wait_for()
    other.close()
    assert page.context.cookies() != cookies
    # By the button, unless the page has noticed by itself that somebody came back to it.
    page.evaluate(
        "document.getElementById('upload-again').hidden || "
        "document.getElementById('try-again').click()"
    )
    done = page.locator("#upload-done")
    done.wait_for()
    assert "2 cases submitted. 1 file not" in done.inner_text()
    assert page.get_by_role("link", name="Open the case").count() == 2
    assert page.get_by_role("list", name="Chosen").get_by_text("Refused.").count() == 1
    assert violations(window, "submit-each") == []
    window.picture("submit-each")
    for n in range(2):
        assert submissions_of(live_service, f"{accession}{n}") == 1


def test_a_new_radiologist_is_done_in_half_a_minute_and_five_clicks(
    open_window: Open, live_service: LiveService
) -> None:
    """From the sign-in page to the submitted case, with a person's clicks counted."""
    window = open_window()
    page, clicks = window.page, 0
    login = live_service.demo["radiologist"]
    began = time.monotonic()
    window.goto("/sign-in/")
    page.get_by_label("User name").fill(login["username"])
    page.keyboard.press("Tab")
    page.keyboard.type(login["password"])
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Submit", exact=True).click()
    clicks += 1
    # Nobody drags a file faster than the page's scripts are there.
    page.wait_for_url("**/submit/")
    drop(page, "IM1", study(uuid.uuid4().hex[:10], f"B-{uuid.uuid4().hex[:8]}", 7))
    clicks += 1  # a file dragged
    page.get_by_text("1 file checked.").wait_for()
    press_submit(window)
    clicks += 1
    page.wait_for_url(CASE_URL)
    seconds = time.monotonic() - began
    print(f"from sign-in to a submitted case: {seconds:.1f} s, {clicks} clicks")
    assert clicks <= 5
