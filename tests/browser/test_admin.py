"""An administrator's morning: a failed image tried again, a token made and used, somebody added."""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.browser.conftest import Open
from tests.browser.test_accessibility import violations
from tests.live import LiveService, paused, wait_for

pytestmark = pytest.mark.browser


def failed_case(service: LiveService) -> tuple[str, str]:
    """A case whose image failed for good, and its job: as a worker leaves it behind."""
    from tests.factories import phantom_jpeg

    accession = uuid.uuid4().hex[:8]
    with paused([service.pid_of("inference")]), service.api() as api:
        sent = api.post(
            "/submissions/",
            data={"patient_id": uuid.uuid4().hex[:12], "accession_number": accession},
            files={"file": ("image.jpg", phantom_jpeg(), "image/jpeg")},
        )
        job = sent.json()["jobs"][0]["id"]
        service.sql(
            "UPDATE cases_job SET state = 'FAILED', attempt = 1, finished_at = now(), "
            "error_code = 'engine_crashed', error_detail = 'The engine died.' "
            "WHERE id = %s AND state = 'PENDING'",
            job,
        )
    return accession, job


def test_an_administrator_retries_and_makes_a_token_that_works(open_window: Open) -> None:
    found: list[str] = []
    window = open_window("admin")
    page, service = window.page, window.service
    page.wait_for_url("**/overview/")
    retry_all = page.get_by_role("link", name="Look at it")
    retry_all.focus()
    # What failed since appears by itself, and the focus stays where it was.
    accession, job = failed_case(service)
    button = page.get_by_role("button", name=f"Try the image of case {accession} again")
    button.wait_for()
    assert retry_all.evaluate("node => node === document.activeElement")
    found += violations(window, "overview")
    button.click()
    page.get_by_text("1 image asked for again.").wait_for()
    wait_for(
        "the retry answered",
        lambda: service.sql(
            "SELECT 1 FROM cases_job WHERE rerun_of_id = %s AND state = 'SUCCEEDED'", job
        ),
        seconds=90,
    )

    page.get_by_role("link", name="Tokens").click()
    page.get_by_label("Name", exact=True).fill("browser test")
    page.get_by_label("Read what its owner may see").check()
    page.get_by_role("button", name="Make token").click()
    secret = page.locator("#secret").inner_text()
    found += violations(window, "token")
    bearer = {"Authorization": f"Bearer {secret}"}
    cases = f"{service.url}/api/v1/cases/"
    assert httpx.get(cases, headers=bearer, timeout=60).status_code == 200
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Revoke browser test").click()
    page.get_by_text("This cannot be undone.").wait_for()
    found += violations(window, "revoke a token")
    assert httpx.get(cases, headers=bearer, timeout=60).status_code == 200
    page.get_by_role("button", name="Revoke the token").click()
    page.get_by_text("is revoked").wait_for()
    assert httpx.get(cases, headers=bearer, timeout=60).status_code == 401

    places = page.get_by_role("navigation", name="Places")
    places.get_by_role("link", name="People").click()
    page.get_by_role("link", name="Add somebody").click()
    name = f"rita-{accession}"
    page.get_by_label("User name").fill(name)
    page.get_by_label("Radiologist").check()
    page.get_by_role("button", name="Add user").click()
    link = page.locator("code.secret").inner_text()
    other = open_window()
    other.page.goto(link)
    found += violations(other, "choose a password")
    other.page.get_by_label("Password").fill("a long and sober password")
    other.page.get_by_label("Once more").fill("a long and sober password")
    other.page.get_by_role("button", name="Set password").click()
    other.page.get_by_role("link", name="Sign in").click()
    other.page.get_by_label("User name").fill(name)
    other.page.get_by_label("Password").fill("a long and sober password")
    other.page.get_by_role("button", name="Sign in").click()
    other.page.get_by_role("heading", name="Worklist").wait_for()

    window.goto("/audit/?action=user.password_chosen")
    page.get_by_text(name).first.wait_for()
    assert found == []
