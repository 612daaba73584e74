"""Sessions: ended by idleness, age, a new password, or by hand; listed for their owner."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cases.access import SYSTEM
from cases.models import AuditEvent
from cases.services.people import user_deactivate
from cases.services.sessions import sessions_tidy
from tests.factories import PASSWORD, make_user
from tests.portal.markup import read
from tests.portal.signing_in import is_signed_in, password_step, signed_in

pytestmark = pytest.mark.django_db
NEW = "another long passphrase"


def age(client: Client, **ago: timedelta) -> None:
    """Make the session of ``client`` older than it is."""
    now = timezone.now()
    UserSession.objects.filter(session_key=client.session.session_key).update(
        **{field: now - delta for field, delta in ago.items()}
    )


def change_password(client: Client, old: str = PASSWORD, new: str = NEW, again: str = NEW) -> Any:
    sent = {"oldpassword": old, "password1": new, "password2": again}
    return client.post(reverse("account_change_password"), sent, follow=True)


def test_a_new_password_ends_the_other_sessions_and_keeps_this_one() -> None:
    user = make_user(roles=["radiologist"])
    here, there = signed_in(user), signed_in(user)
    stranger = signed_in(make_user(roles=["radiologist"]))
    page = change_password(here)
    assert "Your password is changed" in page.content.decode()
    assert [is_signed_in(c) for c in (here, there, stranger)] == [True, False, True]
    assert password_step(user).status_code == 200
    assert password_step(user, NEW).status_code == 302
    assert AuditEvent.objects.filter(action="user.password_changed", user_id=user.pk).count() == 1
    assert len(read(here.get(reverse("account")).content).all("tr")) >= 2


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"old": "wrong"}, "This is not your present password."),
        ({"new": "short", "again": "short"}, "at least 12 characters"),
        ({"again": "something else"}, "You must type the same password each time."),
        ({"new": "passwordpassword1", "again": "passwordpassword2"}, "same password"),
    ],
)
def test_a_password_that_is_refused_changes_nothing(sent: dict[str, str], sentence: str) -> None:
    user = make_user(roles=["radiologist"])
    here, there = signed_in(user), signed_in(user)
    assert sentence in change_password(here, **sent).content.decode()
    assert is_signed_in(there)
    assert password_step(user).status_code == 302


def test_the_own_sessions_are_listed_and_ended_one_by_one() -> None:
    user = make_user(roles=["radiologist"])
    there = Client(HTTP_USER_AGENT="Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36")
    password_step(user, client=there, REMOTE_ADDR="198.51.100.4")
    here = signed_in(user)
    page = read(here.get(reverse("account")).content)
    assert "Chrome on Windows" in page.text and "198.51.100.4" in page.text
    one = re.compile(r"/account/sessions/\d+/end/")
    [url] = [url for tag in page.all("form") if one.fullmatch(url := tag.attrs["action"])]
    stranger = signed_in(make_user(roles=["radiologist"]))
    stranger.post(url)
    assert is_signed_in(there)
    here.post(url)
    assert [is_signed_in(c) for c in (here, there)] == [True, False]
    again = here.post(url, follow=True)
    assert "had ended already" in again.content.decode()


@pytest.mark.parametrize(("which", "here_stays"), [("others", True), ("all", False)])
def test_signing_out_everywhere(which: str, here_stays: bool) -> None:
    user = make_user(roles=["radiologist"])
    here, *there = signed_in(user), signed_in(user), signed_in(user)
    stranger = signed_in(make_user(roles=["radiologist"]))
    here.post(reverse("sessions-end"), {"which": which})
    assert [is_signed_in(c) for c in (here, *there)] == [here_stays, False, False]
    assert is_signed_in(stranger)
    event = AuditEvent.objects.get(action="user.sessions_ended")
    assert event.detail == {"sessions": 2}


def test_a_closed_account_is_out_at_once() -> None:
    user = make_user(roles=["radiologist"])
    client = signed_in(user)
    user_deactivate(actor=SYSTEM, user=user)
    assert not is_signed_in(client)


# Idle


def test_a_session_that_nobody_uses_ends_on_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user(roles=["radiologist"])
    client = signed_in(user)
    # The clock stands still: seconds decide here.
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    age(client, last_seen_at=timedelta(minutes=14, seconds=50))
    assert is_signed_in(client)  # and that was a use of it
    age(client, last_seen_at=timedelta(minutes=15, seconds=1))
    response = client.get(reverse("model-list"))
    assert response.headers["Location"] == f"{reverse('sign-in')}?next={reverse('model-list')}"
    page = client.get(response.headers["Location"])
    assert "nobody used the page for 15 minutes" in page.content.decode()
    event = AuditEvent.objects.get(action="user.session_ended")
    assert (event.user_id, event.detail) == (user.pk, {"code": "idle"})
    assert not Session.objects.exists()
    assert client.get("/api/v1/models/").status_code == 401


def test_the_reason_is_told_once_also_where_another_request_met_the_end() -> None:
    client = signed_in(make_user(roles=["radiologist"]))
    told, words = f"{reverse('sign-in')}?next=/cases/&ended=idle", "nobody used the page"
    # Nobody is told so who is signed in still, whatever the address says.
    client.get(told)
    assert words not in client.get(reverse("account")).content.decode()
    age(client, last_seen_at=timedelta(minutes=16))
    client.get(reverse("worklist-rows"), headers={"HX-Request": "true"})
    assert client.get(told).content.decode().count(words) == 1
    assert client.get(told).content.decode().count(words) == 1
    assert words not in client.get(reverse("sign-in")).content.decode()


def test_a_session_ends_after_its_hours_however_much_it_is_used() -> None:
    client = signed_in(make_user(roles=["radiologist"]))
    age(client, created_at=timedelta(hours=10, seconds=1))
    assert not is_signed_in(client)
    assert AuditEvent.objects.get(action="user.session_ended").detail == {"code": "age"}


@pytest.mark.parametrize(
    ("how", "keeps"),
    [
        ({}, True),
        ({"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, True),
        ({"Accept": "text/event-stream"}, False),
        ({"Accept": "application/json"}, False),
        ({"Sec-Fetch-Mode": "navigate"}, True),
        ({"Sec-Fetch-Mode": "cors"}, False),
        ({"Sec-Fetch-Mode": "no-cors"}, False),
        ({"HX-Request": "true"}, False),
    ],
)
def test_what_a_page_loads_by_itself_keeps_no_session_alive(
    how: dict[str, str], keeps: bool
) -> None:
    client = signed_in(make_user(roles=["radiologist"]))
    age(client, last_seen_at=timedelta(minutes=10))
    assert client.get(reverse("worklist-rows"), headers=how).status_code == 200
    left = client.get(reverse("account-idle"), headers={"Sec-Fetch-Mode": "cors"}).json()
    assert (left["seconds_left"] > 14 * 60) is keeps


def test_somebody_who_says_so_is_still_there() -> None:
    client = signed_in(make_user(roles=["radiologist"]))
    age(client, last_seen_at=timedelta(minutes=14))
    answer = client.post(reverse("account-idle"), headers={"Accept": "application/json"})
    assert answer.json()["seconds_left"] > 14 * 60
    # Without script the same button leads to a page.
    page = client.post(reverse("account-idle"), headers={"Accept": "text/html"})
    assert page.headers["Location"] == reverse("home")


def test_after_its_end_a_session_has_no_time_left_and_cannot_be_revived() -> None:
    client = signed_in(make_user(roles=["radiologist"]))
    age(client, last_seen_at=timedelta(minutes=16))
    assert client.post(reverse("account-idle")).json() == {"seconds_left": 0}
    assert not is_signed_in(client)


def test_a_script_of_an_ended_session_is_told_so_and_a_fragment_loads_its_page() -> None:
    told = Client().get(reverse("worklist"), headers={"Sec-Fetch-Dest": "empty"})
    assert (told.status_code, told.json()["code"]) == (401, "not_authenticated")
    fragment = Client().get(reverse("worklist-rows"), headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["HX-Refresh"]) == (204, "true")


def test_a_session_from_before_sessions_were_noted_goes_on() -> None:
    client = signed_in(make_user(roles=["radiologist"]))
    UserSession.objects.all().delete()
    assert is_signed_in(client)
    assert UserSession.objects.count() == 1


def test_sessions_whose_time_is_over_are_tidied_away() -> None:
    user = make_user(roles=["radiologist"])
    old, live = signed_in(user), signed_in(user)
    Session.objects.filter(session_key=old.session.session_key).update(
        expire_date=timezone.now() - timedelta(minutes=1)
    )
    assert sessions_tidy() == 1
    assert is_signed_in(live)
    assert [row.session_key for row in UserSession.objects.all()] == [live.session.session_key]
