"""An account as people have it: second factor, an ended session with typed text, a passkey."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from typing import Any

import pytest

from tests.browser.conftest import Open, Watched
from tests.browser.test_accessibility import violations
from tests.factories import PASSWORD
from tests.live import ROOT, LiveService
from tests.portal.codes import app_code

pytestmark = pytest.mark.browser
KEY = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def make_person(service: LiveService) -> str:
    """A sonographer of their own: what they change must not shut the demo's users out."""
    name = f"account-{uuid.uuid4().hex[:6]}"
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    env.pop("SECRET_KEY", None)
    env["BCWEB_STATE"] = str(service.state)
    command = [sys.executable, "manage.py", "create_user", name, "--roles", "sonographer"]
    subprocess.run(command, cwd=ROOT, env=env, input=PASSWORD, text=True, check=True)
    return name


def album(window: Watched, name: str) -> None:
    """The page on a monitor and, dark, on a tablet, where somebody asks for pictures."""
    if not os.environ.get("BCWEB_SCREENSHOTS"):
        return
    for scheme, width in (("dark", 820), ("light", 1440)):
        window.page.emulate_media(color_scheme=scheme)
        window.page.set_viewport_size({"width": width, "height": 900})
        window.picture(f"account-{name}-{scheme}-{width}")


def let_idle(service: LiveService, name: str) -> None:
    """As if nobody had used the sessions of this user for longer than they last."""
    service.sql(
        "UPDATE usersessions_usersession SET last_seen_at = now() - interval '16 minutes' "
        "WHERE user_id = (SELECT id FROM cases_user WHERE username = %s)",
        name,
    )


def type_password(page: Any, name: str) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def type_code(page: Any, code: str) -> None:
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_second_factor_ended_session_and_passkey(open_window: Open) -> None:
    found: list[str] = []
    window = open_window()
    page, service = window.page, window.service
    name = make_person(service)
    # Passkeys belong to a name; an address in numbers has none.
    home = service.url.replace("127.0.0.1", "localhost")

    def look(place: str) -> None:
        found.extend(violations(window, place))
        album(window, place)

    page.goto(f"{home}/sign-in/")
    type_password(page, name)
    page.get_by_role("link", name=f"Your account: {name}").click()
    page.get_by_role("heading", name="Where you are signed in").wait_for()
    look("page")

    # An authenticator app, and its code at the next sign-in.
    page.get_by_role("link", name="Add an authenticator app").click()
    page.get_by_text("Cannot scan it?").click()
    secret = page.locator("details code").inner_text().replace(" ", "")
    look("app")
    page.get_by_label("Code that the app shows").fill(app_code(secret))
    page.get_by_role("button", name="Add the app").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    assert page.locator(".codes code").count() == 10
    look("codes")
    page.get_by_role("link", name="I have kept them").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    type_password(page, name)
    page.get_by_role("heading", name="Second step").wait_for()
    look("second-step")
    type_code(page, app_code(secret))
    page.get_by_role("link", name="Submit", exact=True).click()

    # The session ends while a form is filled in: what was typed is back after signing in. (With
    # files chosen the page stays and waits for the sign-in: test_submit.py.)
    page.get_by_label("Patient id", exact=True).fill("P-TYPED-1")
    page.get_by_label("Date of birth").fill("1961-02-03")
    page.get_by_role("group", name="Side").get_by_label("Left").check()
    let_idle(service, name)
    page.get_by_role("link", name="Submit", exact=True).click()
    page.get_by_text("What you typed is kept in this window.").wait_for()
    look("sign-in-again")
    type_password(page, name)
    type_code(page, app_code(secret, later=1))
    page.get_by_text("What you typed before you were signed out is back.").wait_for()
    assert page.get_by_label("Patient id", exact=True).input_value() == "P-TYPED-1"
    assert page.get_by_role("group", name="Side").get_by_label("Left").is_checked()
    look("typed-back")
    # An ordinary visit begins with an empty form.
    page.goto(f"{home}/submit/")
    assert page.get_by_label("Patient id", exact=True).input_value() == ""
    kept = "[...Object.keys(localStorage), ...Object.keys(sessionStorage)]"
    assert page.evaluate(f"{kept}.filter((key) => key.startsWith('bcweb'))") == []

    # A passkey that opens the account by itself.
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    cdp.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    page.goto(f"{home}/account/")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name", exact=True).fill("Work phone")
    look("passkey")
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("cell", name="Work phone", exact=True).wait_for()
    page.get_by_text("Opens the account by itself").wait_for()
    look("page-with-all")
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_role("heading", name="Worklist").wait_for()
    assert found == []


def test_an_idle_page_asks_and_the_keyboard_answers(open_window: Open) -> None:
    window = open_window()
    page = window.page
    page.clock.install()
    window.sign_in("sonographer")
    left = {"GET": 90}

    def answer(route: Any) -> None:
        if route.request.method == "GET":
            route.fulfill(json={"seconds_left": left["GET"]})
        else:
            route.continue_()

    page.route("**/account/idle/", answer)
    dialog = page.get_by_role("dialog", name="Are you still there?")
    page.clock.fast_forward("13:30")
    dialog.wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Stay signed in"
    assert violations(window, "idle dialog") == []
    album(window, "idle")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    # Nobody answers: the session's end on the server leads to the sign-in page, and back.
    page.clock.fast_forward("13:30")
    dialog.wait_for()
    let_idle(window.service, window.service.demo["sonographer"]["username"])
    left["GET"] = 0
    page.clock.fast_forward("01:32")
    page.wait_for_url(re.compile(r"/sign-in/\?next=(/|%2F)cases"))
    page.get_by_text("nobody used the page for 15 minutes").wait_for()
