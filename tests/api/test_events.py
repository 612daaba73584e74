"""Waiting for jobs: what is told, to whom, and when it ends. Over HTTP: test_events_http.py."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.test import Client
from redis import Redis

from cases.access import SYSTEM, Role
from cases.events import hub as rooms
from cases.events import news
from cases.events.hub import Hub, hub
from cases.events.news import news_of
from cases.events.seats import Topic
from cases.models import Job, JobEvent, Site
from cases.selectors.callers import Caller, callers_holding
from cases.services.jobs import job_cancel, job_rerun
from cases.services.people import actor_for_token, actor_for_user, role_grant, token_revoke
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem
from tests.factories import make_actor, make_site, make_token, make_user, submit
from tests.live import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


class Line:
    """The client's end of a connection that the hub holds."""

    def __init__(self, topic: Topic, *, caller: Caller | None = None, head: bytes = b"") -> None:
        mine, theirs = socket.socketpair()
        mine.settimeout(60)
        self.socket = mine
        self.file = mine.makefile("rb")
        caller = caller or Caller("token", str(uuid4()), frozenset())
        wait_for("the hub hears", hub()._heard.is_set)
        seat = hub().reserve(caller=caller, topic=topic)
        assert seat is not None
        self.seat = seat
        hub().attach(seat, theirs, head)

    def event(self) -> tuple[str, dict[str, Any]]:
        """The next event; comments are passed over."""
        told: dict[str, str] = {}
        for line in iter(self.file.readline, b""):
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                told[name] = value
            elif "event" in told:
                return told["event"], json.loads(told["data"])
        raise EOFError

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def events_of(content: bytes) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in content.decode().split("\n\n")]
    parsed = [dict(line.split(": ", 1) for line in block if ": " in line) for block in blocks]
    return [(told["event"], json.loads(told["data"])) for told in parsed if "event" in told]


@pytest.fixture
def job(site: Site) -> Job:
    """A job that waits. That it was submitted has been heard: it is no news to a later line."""
    line = Line(Topic(frozenset({f"site:{site.pk}"})))
    job = submit(actor=make_actor(site=site)).jobs.get()
    assert line.event()[1]["state"] == "PENDING"
    line.close()
    await_empty(hub())
    return job


@pytest.fixture(autouse=True)
def empty_room(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits, and the hub hears: who asked before that would get no seat."""
    # The callers of these lines are made up: looked at anew they would be shown out.
    monkeypatch.setattr(rooms, "RECHECK_EVERY_S", 1e9)
    # An earlier test of this process may just have had a Redis that was away.
    monkeypatch.setattr(news, "_silent_until", 0.0)
    wait_for("the hub hears", hub()._heard.is_set)
    leave_all()
    yield
    leave_all()


def leave_all() -> None:
    for seat in hub()._present():
        hub().leave(seat)


def await_empty(room: Hub) -> None:
    wait_for("all seats to be given up", lambda: not room.taken)


def test_every_move_of_a_job_is_told_and_the_last_one_ends_it(job: Job) -> None:
    line = Line(Topic(frozenset({f"job:{job.pk}"}), ends=True, open={str(job.pk)}))
    answer_waiting()
    told = {"id": str(job.pk), "kind": "inference", "submission": str(job.submission_id)}
    assert line.event() == ("job", {**told, "state": "RUNNING", "attempt": 1})
    assert line.event() == ("job", {**told, "state": "SUCCEEDED", "attempt": 1})
    assert line.event() == ("end", {"reason": "finished"})
    with pytest.raises(EOFError):
        line.event()
    await_empty(hub())


def test_news_that_comes_before_the_connection_is_kept_for_it(job: Job, site: Site) -> None:
    seat = hub().reserve(
        caller=Caller("token", str(uuid4()), frozenset()),
        topic=Topic(frozenset({f"site:{site.pk}"})),
    )
    assert seat is not None
    answer_waiting()
    other = Line(Topic(frozenset({f"site:{site.pk}"})))
    job_rerun(actor=SYSTEM, job_id=job.pk, frame=None)
    # Once it has heard the rerun, all that came before has been heard as well; some of that it may
    # have heard itself. That the job was submitted has been heard before (`job`).
    while other.event()[1]["state"] != "PENDING":
        pass
    mine, theirs = socket.socketpair()
    mine.settimeout(60)
    hub().attach(seat, theirs, b"")
    file = mine.makefile("rb")
    states = []
    while len(states) < 3:
        text = file.readline().decode()
        assert text, "the connection was closed"
        if text.startswith("data: "):
            states.append(json.loads(text[6:])["state"])
    assert states == ["RUNNING", "SUCCEEDED", "PENDING"]


def test_a_case_a_submission_and_a_site_hear_what_is_theirs_and_nothing_else(
    job: Job, site: Site
) -> None:
    assert job.image is not None
    lines = [
        Line(Topic(frozenset({key})))
        for key in (
            f"submission:{job.submission_id}",
            f"case:{job.image.case_id}",
            f"image:{job.image_id}",
            f"site:{site.pk}",
        )
    ]
    strangers = [Line(Topic(frozenset({f"site:{make_site().pk}", f"job:{uuid4()}"})))]
    job_cancel(actor=SYSTEM, job_id=job.pk)
    for line in lines:
        assert line.event()[1]["state"] == "CANCELLED"
    for line in strangers:
        line.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.event()


def test_what_is_rolled_back_is_not_told(job: Job, site: Site) -> None:
    line = Line(Topic(frozenset({f"site:{site.pk}"})))
    with pytest.raises(RuntimeError), transaction.atomic():
        job_cancel(actor=SYSTEM, job_id=job.pk)
        raise RuntimeError
    job_cancel(actor=SYSTEM, job_id=job.pk)
    assert line.event()[1]["state"] == "CANCELLED"
    line.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        line.event()


def test_a_model_in_shadow_works_unseen(job: Job) -> None:
    event = JobEvent.objects.filter(job=job).select_related("job").latest("pk")
    assert news_of(event) is not None
    event.job.kind = "shadow"
    assert news_of(event) is None


def test_a_client_that_goes_gives_its_seat_back(site: Site) -> None:
    line = Line(Topic(frozenset({f"site:{site.pk}"})))
    assert hub().taken == 1
    line.close()
    await_empty(hub())


def test_a_caller_has_so_many_seats_and_no_more(site: Site, settings: Any, api: Api) -> None:
    settings.BCWEB_EVENTS_PER_CALLER = 1
    caller = Caller("token", str(uuid4()), frozenset())
    first = hub().reserve(caller=caller, topic=Topic(frozenset({"job:x"})))
    assert first is not None
    with pytest.raises(Exception, match="Too many connections"):
        hub().reserve(caller=caller, topic=Topic(frozenset({"job:x"})))
    hub().leave(first)
    hub().leave(first)
    again = hub().reserve(caller=caller, topic=Topic(frozenset({"job:x"})))
    assert again is not None
    settings.BCWEB_EVENTS_MAX = 1
    refused = problem(api.get("/events/"), 429, "throttled")
    assert "Too many connections" in refused["detail"]


def test_a_connection_ends_after_its_time(site: Site, settings: Any) -> None:
    settings.BCWEB_EVENTS_SECONDS = 0
    line = Line(Topic(frozenset({f"site:{site.pk}"})))
    assert line.event() == ("end", {"reason": "again"})


def test_a_token_that_is_revoked_is_shown_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "RECHECK_EVERY_S", 0.0)
    token, _ = make_token(site=site)
    actor = actor_for_token(token)
    caller = Caller("token", str(token.pk), actor.capabilities)
    line = Line(Topic(frozenset({f"site:{site.pk}"})), caller=caller)
    stays = make_token(site=site)[0]
    other = Caller("token", str(stays.pk), actor_for_token(stays).capabilities)
    kept = Line(Topic(frozenset({f"site:{site.pk}"})), caller=other)
    token_revoke(actor=SYSTEM, token_id=token.pk)
    assert line.event() == ("end", {"reason": "closed"})
    assert not kept.seat.is_over


def test_who_holds_what_they_came_with(site: Site) -> None:
    user = make_user(roles=["sonographer"], site=site)
    client = Client()
    client.force_login(user)
    key = client.session.session_key
    assert key is not None
    token, _ = make_token(user=user, scopes=["read"])
    rights = actor_for_token(token).capabilities
    by_session = Caller("session", key, actor_for_user(user).capabilities)
    by_token = Caller("token", str(token.pk), rights)
    unknown = Caller("session", "nothing", rights)
    assert callers_holding([by_session, by_token, unknown]) == {by_session, by_token}
    # Another role changes what the session may, and not what the token's scopes let through.
    role_grant(actor=SYSTEM, user=user, role=Role.AUDITOR)
    assert callers_holding([by_session]) == set()
    client.logout()
    assert callers_holding([by_session]) == set()


def test_without_a_connection_to_take_over_the_answer_is_a_snapshot(api: Api, job: Job) -> None:
    for path in (
        f"/jobs/{job.pk}/events/",
        f"/submissions/{job.submission_id}/events/",
        f"/cases/{job.image.case_id}/events/",  # type: ignore[union-attr]
    ):
        response = api.get(path, Accept="application/json")
        assert response.status_code == 200
        assert response.headers["X-Accel-Buffering"] == "no"
        ((name, told),) = events_of(response.content)
        assert name == "snapshot"
        assert told == {
            "jobs": [{"id": str(job.pk), "kind": "inference", "state": "PENDING", "attempt": 0}]
        }
    assert events_of(api.get("/events/").content) == [("snapshot", {"jobs": []})]
    await_empty(hub())


def test_what_has_ended_says_so_and_a_client_that_knows_it_is_sent_home(api: Api, job: Job) -> None:
    answer_waiting()
    path = f"/submissions/{job.submission_id}/events/"
    response = api.get(path)
    (_, told), last = events_of(response.content)
    assert told["jobs"][0]["state"] == "SUCCEEDED"
    assert last == ("end", {"reason": "finished"})
    seen = next(s[4:] for s in response.content.decode().split("\n") if s.startswith("id: "))
    assert api.get(path, Last_Event_ID=seen).status_code == 204
    assert api.get(path, Last_Event_ID="1").status_code == 200
    job_rerun(actor=SYSTEM, job_id=job.pk, frame=None)
    assert [name for name, _ in events_of(api.get(path, Last_Event_ID=seen).content)] == [
        "snapshot"
    ]


def test_nobody_waits_for_what_they_may_not_see(site: Site, job: Job) -> None:
    strangers = Api(make_token()[1])
    own_only = Api(make_token(site=site, scopes=["submit"])[1])
    for path in (f"/jobs/{job.pk}/events/", f"/submissions/{job.submission_id}/events/"):
        problem(strangers.get(path), 404, "not_found")
        problem(own_only.get(path), 404, "not_found")
        problem(Api().get(path), 401, "not_authenticated")
    case = f"/cases/{job.image.case_id}/events/"  # type: ignore[union-attr]
    problem(strangers.get(case), 404, "not_found")
    problem(own_only.get(case), 403, "permission_denied")
    problem(own_only.get("/events/"), 403, "permission_denied")
    assert hub().taken == 0


def test_hundreds_wait_in_one_thread(job: Job) -> None:
    key = frozenset({f"job:{job.pk}"})
    before = threading.active_count()
    lines = [Line(Topic(key, ends=True, open={str(job.pk)})) for _ in range(200)]
    assert threading.active_count() <= before + 1
    job_cancel(actor=SYSTEM, job_id=job.pk)
    for line in lines:
        assert [line.event()[0], line.event()[0]] == ["job", "end"]
        line.close()
    await_empty(hub())


def test_a_gap_in_what_is_heard_sends_everybody_to_look_again(site: Site) -> None:
    line = Line(Topic(frozenset({f"site:{site.pk}"})))
    client = redis_client()
    for told in client.client_list(_type="pubsub"):
        client.client_kill_filter(_id=told["id"])
    assert line.event() == ("end", {"reason": "again"})
    # And it is heard again.
    wait_for("the hub hears", hub()._heard.is_set)
    again = Line(Topic(frozenset({f"site:{site.pk}"})))
    submit(actor=make_actor(site=site))
    assert again.event()[1]["state"] == "PENDING"


def redis_client() -> Redis:
    return Redis.from_url(django_settings.CACHES["default"]["LOCATION"])
