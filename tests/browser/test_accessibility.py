"""axe (WCAG 2.2 AA) on each page, in both colour schemes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.browser.conftest import Open, Watched
from tests.browser.test_smoke import as_file, fill_in, picture, press_submit

pytestmark = pytest.mark.browser

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


def violations(window: Watched, place: str) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found: list[dict[str, Any]] = axe.Axe().run(window.page, options=RULES).response["violations"]
    return [
        f"{place}: {rule['id']}: {node['html'][:160]}" for rule in found for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(scheme: str, open_window: Open) -> None:
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
    window.goto("/cases/")
    look(window, "worklist")
    window.goto("/models/")
    look(window, "models")
    page.locator("article h2 a").first.click()
    page.get_by_text("Everything on the card").click()
    look(window, "model-card")

    window = open_window("auditor", color_scheme=scheme)
    look(window, "audit")
    window = open_window("admin", color_scheme=scheme)
    window.page.get_by_text("Your site's images").wait_for()
    look(window, "overview")
    window.goto("/cases/")
    look(window, "worklist-admin")
    window.goto("/reader-first/")
    look(window, "reader-first")
    window.goto("/reader-first/changes/")
    look(window, "reading-changes")
    for place in ("people", "people/new", "sites", "sites/new", "tokens"):
        window.goto(f"/{place}/")
        look(window, place.replace("/", "-"))
    window.goto("/people/?q=radiologist")
    window.page.get_by_role("link", name="radiologist").click()
    for summary in window.page.locator("summary").all():
        summary.click()
    look(window, "person")
    assert found == []
