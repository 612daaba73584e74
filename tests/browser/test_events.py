"""Pages that listen: they ask when something moved and hardly otherwise, or poll as before."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.browser.conftest import Open, Watched
from tests.browser.test_smoke import as_file, fill_in, picture, press_submit, reader_paused
from tests.live import LiveService

pytestmark = pytest.mark.browser
CASE_URL = "**/cases/*-*/"


def asked_for(page: Any) -> dict[str, int]:
    """How often the page asks for events and for its changed parts, counted as it goes on."""
    counts = {"events": 0, "parts": 0}

    def count(request: Any) -> None:
        if request.url.endswith("/events/"):
            counts["events"] += 1
        elif "seen=" in request.url:
            counts["parts"] += 1

    page.on("request", count)
    return counts


def waiting_case(window: Watched) -> Any:
    fill_in(window, as_file(picture()), Accession_number=uuid.uuid4().hex[:8])
    press_submit(window)
    window.page.wait_for_url(CASE_URL)
    card = window.page.get_by_role("article", name="Answer for image 1")
    card.get_by_text("Waiting").wait_for()
    return card


def test_a_case_page_that_hears_events_stops_polling_and_shows_the_answer(
    open_window: Open, live_service: LiveService
) -> None:
    window = open_window("radiologist")
    counts = asked_for(window.page)
    with reader_paused(live_service):
        card = waiting_case(window)
        # Until the stream stands it polls; then three times as long as between two polls nothing.
        for _ in range(10):
            before = counts["parts"]
            window.page.wait_for_timeout(4_500)
            if counts["events"] and counts["parts"] == before:
                break
        assert counts["events"] >= 1
        assert counts["parts"] == before
    card.locator(".scores, .headline").first.wait_for(timeout=60_000)
    # The connection is given up with the reason for it.
    assert window.page.locator("[data-events]").count() == 0


def test_a_page_polls_where_events_cannot_be_had(
    open_window: Open, live_service: LiveService
) -> None:
    window = open_window("radiologist")
    window.page.route("**/events/", lambda route: route.fulfill(status=429, body=""))
    counts = asked_for(window.page)
    with reader_paused(live_service):
        card = waiting_case(window)
        with window.page.expect_request(lambda request: "seen=" in request.url):
            pass
        with window.page.expect_request(lambda request: "seen=" in request.url):
            pass
    card.locator(".scores, .headline").first.wait_for(timeout=60_000)
    assert counts["events"] >= 1


def test_the_worklist_follows_the_site(open_window: Open, live_service: LiveService) -> None:
    window = open_window("radiologist")
    counts = asked_for(window.page)
    # The stream stands, and the page has looked for what came before it.
    with window.page.expect_request(lambda request: "seen=" in request.url):
        window.goto("/cases/")
    files = {"file": ("phantom.jpg", picture())}
    # Somebody else's image: the page hears of it long before its next poll.
    with (
        window.page.expect_request(lambda request: "seen=" in request.url, timeout=60_000),
        live_service.api() as api,
    ):
        sent = api.post("/submissions/", data={"patient_id": "EVENTS"}, files=files)
        assert sent.status_code == 202
    window.page.get_by_text("new case").first.wait_for(timeout=20_000)
    assert counts["events"] >= 1
