"""axe (WCAG 2.2 AA) on each page and on what pages become while they are used, in both schemes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.browser.conftest import Open, Watched
from tests.browser.test_smoke import as_file, fill_in, picture, press_submit
from tests.browser.walk import pages
from tests.live import LiveService, wait_for

pytestmark = pytest.mark.browser

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
# All that a colour scheme can change.
CONTRAST = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}


def violations(window: Watched, place: str, rules: dict[str, Any] = RULES) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    # A page of which half has come has no footer, and its scripts have not run yet.
    window.page.wait_for_load_state()
    found: list[dict[str, Any]] = axe.Axe().run(window.page, options=rules).response["violations"]
    return [
        f"{place}: {rule['id']}: {node['html'][:160]}" for rule in found for node in rule["nodes"]
    ]


UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_pages_in_use(scheme: str, open_window: Open) -> None:
    found: list[str] = []

    def look(window: Watched, place: str) -> None:
        found.extend(violations(window, place))
        window.picture(f"{place}-{scheme}")

    window = open_window(color_scheme=scheme)
    window.goto("/sign-in/")
    look(window, "sign-in")
    window.goto("/nowhere/")
    look(window, "error")

    window = open_window("radiologist", color_scheme=scheme)
    page = window.page
    fill_in(window)
    look(window, "submit")
    press_submit(window)
    page.locator("#error-summary").wait_for()
    look(window, "submit-errors")
    fill_in(window, as_file(picture()), as_file(picture("benign"), "second.jpg"))
    page.get_by_label("Accession number", exact=True).fill(uuid.uuid4().hex[:10])
    press_submit(window)
    page.wait_for_url("**/cases/*-*/")
    look(window, "case-unfinished")
    page.locator("#case-live:not([hx-get])").wait_for(state="attached", timeout=90_000)
    for summary in page.locator("summary").all():
        summary.click()
    for toggle in page.get_by_label("Show heatmap").all():
        toggle.check()
    look(window, "case")
    page.get_by_role("link", name="Whole history").click()
    page.get_by_role("heading", name="History").wait_for()
    look(window, "history")
    assert found == []


def test_axe_finds_nothing_on_any_page_that_links_lead_to(
    open_window: Open, live_service: LiveService
) -> None:
    """Of each role, what no role before it reached; with all that is folded unfolded."""
    with live_service.api() as api:
        about = {"patient_id": uuid.uuid4().hex[:10], "accession_number": uuid.uuid4().hex[:10]}
        sent = api.post("/submissions/", data=about, files={"file": ("phantom.jpg", picture())})
        job = sent.json()["jobs"][0]["id"]
        wait_for("the answer", lambda: api.get(f"/jobs/{job}/").json()["finished_at"], every=0.2)
    found: list[str] = []
    seen: set[str] = set()
    for role in ("admin", "radiologist", "sonographer", "approver", "auditor"):
        # Colours that are on their way to those of the other scheme are of neither.
        window = open_window(role, color_scheme="light", reduced_motion="reduce")
        for kind in pages(window.page, window.service.url):
            if kind in seen:
                continue
            seen.add(kind)
            place = f"{role}: {kind}"
            window.page.evaluate(UNFOLD)
            window.picture(f"{role}-{kind}")
            found += violations(window, place)
            window.page.emulate_media(color_scheme="dark")
            found += violations(window, f"{place}, dark", CONTRAST)
            window.page.emulate_media(color_scheme="light")
    assert found == []
    # The walk went through the portal, and not around it.
    assert seen > {"cases", "cases-ID", "overview", "people-ID", "models-ID", "audit", "submit"}
