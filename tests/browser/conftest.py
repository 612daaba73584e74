"""A real Chromium against the real service, watched for anything the policy refused."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Raster

from tests.live import LiveService

# Refused forms answer 4xx on purpose; Chromium logs each such answer as an error.
_EXPECTED = "Failed to load resource: the server responded with a status of 4"
_WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.sourceFile} ${event.sample}`));
"""


@dataclass
class Watched:
    """A browser window, and everything in it that should not have happened."""

    page: Any
    service: LiveService
    faults: list[str] = field(default_factory=list)

    def goto(self, path: str) -> None:
        self.page.goto(f"{self.service.url}{path}")

    def forgive_cut_off(self) -> None:
        """Forget the requests that failed because the test had cut the network off."""
        self.faults[:] = [fault for fault in self.faults if "net::ERR_" not in fault]

    def sign_in(self, role: str) -> None:
        login = self.service.demo[role]
        self.goto("/sign-in/")
        self.page.get_by_label("User name").fill(login["username"])
        self.page.get_by_label("Password").fill(login["password"])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Sign out").wait_for()

    def picture(self, name: str) -> None:
        """Keep a picture of the window where `BCWEB_SCREENSHOTS` names a folder."""
        folder = os.environ.get("BCWEB_SCREENSHOTS")
        if folder:
            self.page.mouse.move(0, 0)
            self.page.wait_for_load_state("networkidle")
            whole = Raster.open(io.BytesIO(self.page.screenshot(animations="disabled")))
            # 256 colours are enough for a page, at a third of the size.
            whole.convert("RGB").quantize(256).save(Path(folder) / f"{name}.png", optimize=True)


Open = Callable[..., Watched]


@contextmanager
def running_chromium() -> Iterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    # Only for the module: Playwright's loop in this thread would look like async code to Django.
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def open_window(chromium: Any, live_service: LiveService) -> Iterator[Open]:
    """Opens a window, signed in where `role` is given; at the end nothing may have gone wrong."""
    windows: list[Watched] = []
    contexts: list[Any] = []

    def opened(role: str | None = None, **options: Any) -> Watched:
        context = chromium.new_context(viewport={"width": 1440, "height": 900}, **options)
        contexts.append(context)
        window = watched(context.new_page(), live_service)
        windows.append(window)
        if role is not None:
            window.sign_in(role)
        return window

    yield opened
    faults = [fault for window in windows for fault in window.faults]
    for context in contexts:
        context.close()
    assert faults == []


def watched(page: Any, service: Any) -> Watched:
    """A page whose faults are noted from now on."""
    # It keeps from hanging alone: nothing is expected not to come.
    page.set_default_timeout(120_000)
    window = Watched(page, service)
    page.add_init_script(_WATCH)
    page.on("pageerror", lambda error: window.faults.append(f"error: {error}"))
    page.on("console", lambda message: _note(window, message))
    return window


def _note(window: Watched, message: Any) -> None:
    if message.type in ("error", "warning") and not message.text.startswith(_EXPECTED):
        window.faults.append(f"{message.type}: {message.text}")
