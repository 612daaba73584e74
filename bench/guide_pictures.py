"""The pictures of the user guide and the README, from the running product: phantoms, no patients.

Walks what the guide tells, as a radiologist, a sonographer and an administrator, and keeps each
step under the name by which docs/user-guide.md and README.md show it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser.conftest import Watched, watched
from tests.browser.test_smoke import as_file, fill_in, press_submit
from tests.live import LiveService
from tests.phantoms import bmode_phantom, dicom_bytes, jpeg_bytes

HEIGHT = 900


def take(found: LiveService, browser: Any, folder: Path) -> int:
    """Keep every picture in ``folder`` (PNG, 256 colours). Returns how many."""
    before = os.environ.get("BCWEB_SCREENSHOTS")
    os.environ["BCWEB_SCREENSHOTS"] = str(folder)
    try:
        names = [
            name
            for walk in (_submitted, _read, _compared, _managed)
            for name in walk(found, browser)
        ]
    finally:
        if before is None:
            del os.environ["BCWEB_SCREENSHOTS"]
        else:
            os.environ["BCWEB_SCREENSHOTS"] = before
    return len(names)


@contextmanager
def _window(found: LiveService, browser: Any, role: str, width: int = 1280) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": width, "height": HEIGHT})
    window = watched(context.new_page(), found)
    window.page.set_default_timeout(90_000)
    window.sign_in(role)
    yield window
    context.close()


def _keep(window: Watched, name: str) -> str:
    window.picture(name)
    return name


def _to_top(page: Any, selector: str) -> None:
    page.locator(selector).first.evaluate("e => e.scrollIntoView({block: 'start'})")


def _submitted(found: LiveService, browser: Any) -> Iterator[str]:
    """Files are chosen and checked, one is refused, and a case is answered."""
    with _window(found, browser, "sonographer") as window:
        page = window.page
        left = dicom_bytes(
            bmode_phantom(seed=61, size=(360, 460)), patient_id="P-2001", accession="A-2001"
        )
        cut = jpeg_bytes(bmode_phantom(seed=62))[:3000]
        fill_in(window, as_file(left, "left.dcm"), as_file(cut, "cut.jpg"))
        page.get_by_role("list", name="Chosen").get_by_text("cut off").wait_for()
        yield _keep(window, "guide-submit")
        press_submit(window)
        page.locator("#error-summary").wait_for()
        yield _keep(window, "submit-refused")


def _open(window: Watched, accession: str) -> None:
    window.goto("/cases/?view=all")
    window.page.get_by_role("link", name=accession, exact=True).click()
    window.page.locator("#case-live:not([hx-get])").wait_for(state="attached")


def _read(found: LiveService, browser: Any) -> Iterator[str]:
    """The worklist, an answer, its heatmap, no answer, a cine, and a reading in the lexicon."""
    with _window(found, browser, "radiologist") as window:
        page = window.page
        window.goto("/cases/?view=all")
        yield _keep(window, "worklist")
        _open(window, "A-1001")
        yield _keep(window, "case-answered")
        page.get_by_label("Show heatmap").first.check()
        page.locator("img.heat").first.wait_for()
        page.locator("img.heat").first.evaluate("image => image.decode()")
        yield _keep(window, "case-heatmap")
        page.get_by_text("Write a reading").first.click()
        for group in page.locator(".reading-form .lexicon-group:not([open]) > summary").all()[:2]:
            group.click()
        _to_top(page, ".reading-form")
        yield _keep(window, "guide-reading")
        page.get_by_role("link", name="Report").first.click()
        page.get_by_role("heading").first.wait_for()
        yield _keep(window, "guide-report")
        _open(window, "A-1004")
        yield _keep(window, "guide-no-answer")
        _open(window, "A-1005")
        yield _keep(window, "case-cine")
        window.goto("/account/")
        yield _keep(window, "guide-account")


def _compared(found: LiveService, browser: Any) -> Iterator[str]:
    """Two examinations of a patient side by side."""
    with _window(found, browser, "radiologist", width=1440) as window:
        _open(window, "A-1003")
        _to_top(window.page, "#priors-title")
        yield _keep(window, "guide-priors")


def _managed(found: LiveService, browser: Any) -> Iterator[str]:
    with _window(found, browser, "admin") as window:
        window.page.get_by_text("Your site's images").wait_for()
        yield _keep(window, "guide-overview")
