"""The docs page in a real Chromium, under the site's own content policy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from tests.api.contract import schema
from tests.factories import make_site, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    # Playwright's loop runs in this thread; Django takes that for an async context.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_the_docs_page_shows_every_operation_and_breaks_no_policy(
    browser: Any, live_server: Any
) -> None:
    client = Client()
    client.force_login(make_user(roles=["radiologist"], site=make_site()))
    page = browser.new_page()
    # A busy machine takes long to draw all of it.
    page.set_default_timeout(120_000)
    page.context.add_cookies(
        [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
    )
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{live_server.url}/api/v1/docs/")
    page.wait_for_selector(".opblock-summary")
    assert page.locator(".info .title").inner_text().startswith("bcweb")
    operations = sum(len(methods) for methods in schema()["paths"].values())
    page.locator(".opblock").nth(operations - 1).wait_for(state="attached")
    assert page.locator(".opblock").count() == operations
    page.locator("#operations-jobs-jobs_retrieve .opblock-summary-control").click()
    page.locator("#operations-jobs-jobs_retrieve .responses-table").wait_for()
    folder = os.environ.get("BCWEB_SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/api-docs.png")
    assert [line for line in said if line.startswith("error")] == []
    # Nothing is fetched from anywhere else.
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {
        live_server.url.split("/")[2]
    }
