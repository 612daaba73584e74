"""Looking through a long trail: what fits, and by which index."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cases.access import SYSTEM, Actor
from cases.errors import PermissionDenied
from cases.models import AuditEvent, User
from cases.selectors import audit_search as module
from cases.selectors.audit_search import AuditFilter, audit_search, audit_walk, searched
from tests.factories import make_actor

pytestmark = pytest.mark.django_db

MANY = 4_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def long_trail(actor: Actor) -> None:
    """A thousand days of it, four events each: most of another site, one in a hundred of ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO cases_auditevent (at, actor_kind, actor_label, user_id, action, object_type,
                object_id, site_id, case_id, request_id, changed_fields, detail)
            SELECT %s + n * interval '6 hours', 'user', 'somebody',
                   CASE WHEN n %% 10 = 0 THEN NULL ELSE gen_random_uuid() END,
                   CASE WHEN n %% 500 = 0 THEN 'token.revoked' ELSE 'case.viewed' END, 'case',
                   gen_random_uuid()::text,
                   CASE WHEN n %% 100 = 0 THEN %s::uuid ELSE gen_random_uuid() END,
                   gen_random_uuid(), '', '{}', '{}'
            FROM generate_series(1, %s) AS n
            """,
            [START, actor.site_id, MANY],
        )
        cursor.execute("ANALYZE cases_auditevent")


@pytest.fixture
def auditor() -> Actor:
    return make_actor(roles=["auditor"])


def found(who: Actor, **wanted: Any) -> list[AuditEvent]:
    page = audit_search(actor=who, wanted=AuditFilter(**wanted), size=10_000)
    return list(page.rows)


def test_each_filter_finds_what_fits_and_no_more(auditor: Actor) -> None:
    long_trail(auditor)
    ours = [event for event in found(auditor) if event.site_id == auditor.site_id]
    spread = [event for event in ours if event.actor_label == "somebody"]
    assert len(spread) == MANY / 100
    one = spread[3]
    assert found(auditor, object_id=one.object_id) == [one]
    assert found(auditor, case=one.case_id) == [one]
    assert len(found(auditor, action="token.revoked")) == MANY / 500
    assert found(auditor, action="no.such") == []
    since, until = one.at, one.at + timedelta(days=100)
    between = found(auditor, since=since, until=until)
    assert between == [event for event in spread if since <= event.at < until]
    assert len(between) == 4


@pytest.mark.parametrize("length", [8, 9, 13, 20, 35, 36])
def test_an_object_is_found_by_what_its_id_begins_with(length: int, auditor: Actor) -> None:
    long_trail(auditor)
    one = next(event for event in found(auditor) if event.actor_label == "somebody")
    assert found(auditor, object_id=one.object_id[:length]) == [one]


def test_the_beginning_of_an_id_may_be_typed_in_capitals(auditor: Actor) -> None:
    long_trail(auditor)
    one = next(event for event in found(auditor) if event.actor_label == "somebody")
    assert found(auditor, object_id=one.object_id[:8].upper()) == [one]


@pytest.mark.parametrize("typed", ["{id:.7}", "{id}0", "%", "{id:.8}%", "{id:.8}_", "case"])
def test_less_than_what_a_page_shows_of_an_id_finds_nothing(typed: str, auditor: Actor) -> None:
    long_trail(auditor)
    one = next(event for event in found(auditor) if event.actor_label == "somebody")
    assert found(auditor, object_id=typed.format(id=one.object_id)) == []


@pytest.mark.parametrize("days", [-1, 0, 0.1, 500, 999.9, 1000, 1001, 9000])
def test_a_moment_anywhere_parts_the_trail(days: float, auditor: Actor) -> None:
    long_trail(auditor)
    moment = START + timedelta(days=days)
    every = {event.pk for event in found(auditor)}
    late = {event.pk for event in found(auditor, since=moment)}
    early = {event.pk for event in found(auditor, until=moment)}
    assert late | early == every
    assert not late & early


@pytest.mark.parametrize("year", [1, 9999])
def test_the_ends_of_time_and_an_empty_trail_are_no_trouble(year: int) -> None:
    moment = datetime(year, 12, 31, 23, 59, tzinfo=UTC)
    assert found(SYSTEM, since=moment, until=moment) == []


def test_a_persons_events_are_found_with_those_of_their_tokens(auditor: Actor) -> None:
    user = User.objects.get(pk=auditor.user_id)
    rows = [
        ("user", user.username, user.pk),
        ("token", f"{user.username} via bcw_abc", user.pk),
        # A machine that happens to be called like somebody else's label.
        ("worker", "training@host:1", None),
    ]
    AuditEvent.objects.bulk_create(
        AuditEvent(
            actor_kind=kind, actor_label=label, user_id=pk, action="x.y", object_type="x",
            site_id=auditor.site_id,
        )
        for kind, label, pk in rows
    )  # fmt: skip
    assert {e.actor_kind for e in found(auditor, actor=user.username)} == {"user", "token"}
    assert [e.actor_kind for e in found(auditor, actor="training@host:1")] == ["worker"]
    assert found(auditor, actor="nobody") == []


def test_an_auditor_sees_their_site_and_what_is_everybodys(auditor: Actor) -> None:
    for site in (auditor.site_id, None, uuid.uuid4()):
        AuditEvent.objects.create(
            actor_kind="system", actor_label="s", action="a.b", object_type="x", site_id=site
        )
    assert {e.site_id for e in found(auditor, action="a.b")} == {auditor.site_id, None}
    with pytest.raises(PermissionDenied):
        found(make_actor(roles=["radiologist"]))


def test_pages_follow_one_another_and_lead_back(auditor: Actor) -> None:
    long_trail(auditor)
    wanted = AuditFilter(action="case.viewed")
    pages, edge = [], None
    while True:
        page = audit_search(actor=auditor, wanted=wanted, size=7, older_than=edge)
        pages.append(list(page.rows))
        if not page.has_older:
            break
        edge = page.rows[-1].pk
    assert [event for page in pages for event in page] == found(auditor, action="case.viewed")
    back = audit_search(actor=auditor, wanted=wanted, size=7, newer_than=pages[1][0].pk)
    assert list(back.rows) == pages[0]


def test_a_walk_gives_all_in_stretches(auditor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    long_trail(auditor)
    every = found(auditor)
    monkeypatch.setattr(module, "EXPORTED_AT_ONCE", 9)
    walked = list(audit_walk(actor=auditor, wanted=AuditFilter(), before=every[0].pk + 1))
    assert walked == every
    assert list(audit_walk(actor=auditor, wanted=AuditFilter(action="no"), before=1)) == []


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ({}, "audit_of_site"),
        ({"user_id": uuid.uuid4()}, "audit_of_user"),
        ({"user_id__isnull": True, "actor_label": "x"}, "audit_of_machine"),
        ({"case_id": uuid.uuid4()}, "audit_of_case"),
        ({"object_id": "x"}, "audit_of_object"),
        (
            {
                "object_id__gte": "8a2acdbc",
                "object_id__lt": "8a2acdbcg",
                "object_id__startswith": "8a2acdbc",
            },
            "audit_of_object",
        ),
    ],
)
def test_a_page_is_read_from_an_index(
    condition: dict[str, Any], index: str, auditor: Actor
) -> None:
    long_trail(auditor)
    events = AuditEvent.objects.filter(**condition)
    told = searched(actor=auditor, events=events, order="-id", size=51).explain()
    assert index in told, told
    assert "Seq Scan" not in told, told


def test_looking_for_a_time_takes_a_set_number_of_queries(auditor: Actor) -> None:
    long_trail(auditor)
    asked = {"since": START + timedelta(days=10), "until": START + timedelta(days=20)}
    with CaptureQueriesContext(connection) as caught:
        found(auditor, **asked)
    assert len(caught) == 3
    # The ids the page is sought between lie close around the time that was asked for.
    assert "id" in caught[-1]["sql"]
    spread = AuditEvent.objects.filter(at__gte=asked["since"], at__lt=asked["until"])
    low, high = (
        module._first_id(asked["since"], -module.SLACK),
        module._first_id(asked["until"], module.SLACK),
    )
    assert low is not None and high is not None
    assert high - low <= spread.count() + 10
