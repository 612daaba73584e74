"""The sealed trail: what was altered, removed, added or put elsewhere afterwards is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Now

from cases.access import SYSTEM
from cases.models import AuditEvent, AuditSeal
from cases.sealing import CONTENT, FaultKind, Head, SealFacts, entries_pack, epoch, event_digest
from cases.selectors import seals as reading
from cases.selectors.seals import ChainCheck, event_rows, seal_state
from cases.services import seals
from cases.services.audit import audit_record
from cases.services.seals import audit_seal
from tests.cases.erasing import erase
from tests.factories import make_actor, make_site, submit
from tests.tampering import unguarded

pytestmark = pytest.mark.django_db
EVENTS, SEALS = "cases_auditevent", "cases_auditseal"


def record(count: int = 1) -> list[int]:
    return [
        audit_record(
            actor=SYSTEM, action="thing.done", object_type="thing", detail={"n": n, "share": 0.10}
        ).pk
        for n in range(count)
    ]


def sealed(*sizes: int) -> list[list[int]]:
    """One seal for each size; the ids under each."""
    runs = []
    for size in sizes:
        runs.append(record(size))
        assert audit_seal().seals == 1
    return runs


def faults(**known: Any) -> list[tuple[FaultKind, int, int | None]]:
    return [(fault.kind, fault.seal, fault.event) for fault in ChainCheck(**known).faults()]


def head() -> Head:
    last = AuditSeal.objects.latest("number")
    return Head(last.number, last.hash)


def sql(statement: str, *values: Any) -> None:
    with unguarded(EVENTS, SEALS), connection.cursor() as cursor:
        cursor.execute(statement, values)


def forge(number: int, **changes: Any) -> None:
    """Change a seal as somebody would who knows how its hash is made."""
    with unguarded(SEALS):
        AuditSeal.objects.filter(pk=number).update(**changes)
        ((facts, _),) = reading._facts(AuditSeal.objects.filter(pk=number))
        AuditSeal.objects.filter(pk=number).update(hash=facts.digest())


def test_a_trail_nobody_touched_is_whole() -> None:
    submit()
    assert audit_seal().done
    sealed(3, 1)
    check = ChainCheck(expect=head())
    assert list(check.faults()) == []
    assert check.seals == 3
    assert check.events == AuditEvent.objects.count()
    assert check.head == head()


def test_each_event_is_sealed_once_and_the_seals_follow_each_other() -> None:
    first, second = sealed(3, 2)
    record(1)
    one, two = AuditSeal.objects.all()
    assert (one.number, one.first_id, one.last_id, one.count) == (1, first[0], first[-1], 3)
    assert (two.number, two.after_id, two.last_id, two.count) == (2, first[-1], second[-1], 2)
    assert (one.previous, two.previous) == ("", one.hash)
    assert seal_state(actor=SYSTEM).unsealed == 1
    # Nothing new: no seal.
    assert audit_seal().seals == 1
    assert audit_seal() == seals.Sealing(0, 0, True)


def test_an_empty_trail_has_nothing_to_seal_and_is_whole() -> None:
    assert audit_seal() == seals.Sealing(0, 0, True)
    assert faults() == []


@pytest.mark.parametrize("statement", ["UPDATE {} SET count = 1", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_database_refuses_to_change_or_remove_a_seal(statement: str) -> None:
    sealed(2)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        connection.cursor().execute(statement.format(SEALS))


OTHER: dict[str, Any] = {
    "at": F("at") + Value(timedelta(microseconds=1)),
    "actor_kind": "user",
    "actor_label": Concat(F("actor_label"), Value(" ")),
    "user_id": "00000000-0000-4000-8000-000000000001",
    "token_id": "00000000-0000-4000-8000-000000000001",
    "action": "thing.undone",
    "object_type": "case",
    "object_id": "x",
    "site_id": "00000000-0000-4000-8000-000000000001",
    "case_id": "00000000-0000-4000-8000-000000000001",
    "request_id": "x",
    "changed_fields": ["x"],
    "detail": {"n": 2, "share": 0.1, "more": None},
}


def test_every_column_is_sealed() -> None:
    columns = {field.attname for field in AuditEvent._meta.fields}
    assert {"id", *CONTENT} == columns == {"id", *OTHER}


@pytest.mark.parametrize("column", OTHER)
def test_an_altered_column_is_named(column: str) -> None:
    _, run, _ = sealed(1, 3, 1)
    with unguarded(EVENTS):
        AuditEvent.objects.filter(pk=run[1]).update(**{column: OTHER[column]})
    assert faults() == [(FaultKind.EVENT_ALTERED, 2, run[1])]


@pytest.mark.parametrize(
    "statement",
    [
        # Python would read both as the same number, or could not read the time at all.
        """UPDATE cases_auditevent SET detail = '{"n": 0, "share": 0.1}' WHERE id = %s""",
        "UPDATE cases_auditevent SET at = 'infinity' WHERE id = %s",
        "UPDATE cases_auditevent SET at = at - interval '4051 years' WHERE id = %s",
        "UPDATE cases_auditevent SET at = at + interval '9000 years' WHERE id = %s",
    ],
)
def test_what_python_cannot_tell_apart_is_altered_too(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cases_auditevent (actor_kind, actor_label, action, object_type, "
            "object_id, request_id, changed_fields, detail) VALUES ('system', 'system', 'x.done', "
            """'x', '', '', '{}', '{"n": 0, "share": 0.10}') RETURNING id"""
        )
        (event,) = cursor.fetchone()
    audit_seal()
    assert faults() == []
    sql(statement, event)
    assert faults() == [(FaultKind.EVENT_ALTERED, 1, event)]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_removed_event_is_named(place: int) -> None:
    _, run, _ = sealed(1, 3, 1)
    sql(f"DELETE FROM {EVENTS} WHERE id = %s", run[place])
    assert faults() == [(FaultKind.EVENT_MISSING, 2, run[place])]


def test_an_event_put_into_a_gap_of_the_ids_is_named() -> None:
    record(1)
    with pytest.raises(RuntimeError), transaction.atomic():
        (gap,) = record(1)
        raise RuntimeError
    record(1)
    audit_seal()
    assert faults() == []
    AuditEvent.objects.create(
        id=gap, at=Now(), actor_kind="user", actor_label="x", action="x.done", object_type="x"
    )
    assert faults() == [(FaultKind.EVENT_INSERTED, 1, gap)]


def test_an_event_before_the_first_one_is_named() -> None:
    sealed(2)
    AuditEvent.objects.create(
        id=-5, at=Now(), actor_kind="user", actor_label="x", action="x.done", object_type="x"
    )
    assert faults() == [(FaultKind.EVENT_INSERTED, 1, -5)]


@pytest.mark.parametrize(("days", "named"), [(-30, True), (30, True), (0, False)])
def test_an_event_with_an_old_or_a_coming_time_is_named_though_it_was_sealed(
    days: int, named: bool
) -> None:
    sealed(2)
    event = AuditEvent.objects.create(
        at=datetime.now(tz=UTC) + timedelta(days=days),
        actor_kind="user",
        actor_label="x",
        action="x.done",
        object_type="x",
    )
    audit_seal()
    assert faults() == ([(FaultKind.EVENT_MISDATED, 2, event.pk)] if named else [])


def test_events_of_years_may_be_sealed_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the first start of a version that seals: in several turns, with newer ones between."""
    monkeypatch.setattr(seals, "SEAL_EVENTS", 2)
    for days in (900, 800, 700, 600, 500, 400, 300):
        AuditEvent.objects.create(
            at=datetime.now(tz=UTC) - timedelta(days=days),
            actor_kind="user",
            actor_label="x",
            action="x.done",
            object_type="x",
        )
    turn = audit_seal(seconds=0)
    assert (turn.seals, turn.events, turn.done) == (1, 2, False)
    record(2)
    assert audit_seal(seconds=0).seals == 1
    assert audit_seal(seconds=None) == seals.Sealing(3, 5, True)
    assert faults() == []


def test_two_events_that_changed_places_are_named() -> None:
    _, run, _ = sealed(1, 4, 1)
    sql(f"UPDATE {EVENTS} SET id = -1 WHERE id = %s", run[1])
    sql(f"UPDATE {EVENTS} SET id = %s WHERE id = %s", run[1], run[2])
    sql(f"UPDATE {EVENTS} SET id = %s WHERE id = -1", run[2])
    check = list(ChainCheck().faults())
    assert [(fault.kind, fault.event) for fault in check] == [
        (FaultKind.EVENT_MOVED, run[1]),
        (FaultKind.EVENT_MOVED, run[2]),
    ]
    assert str(check[0]) == f"event {run[1]}: reordered (seal 2 has this event as {run[2]})"


@pytest.mark.parametrize(
    "change",
    [
        {"sealed_at": F("sealed_at") - Value(timedelta(days=1))},
        {"horizon_at": F("horizon_at") - Value(timedelta(days=1))},
        {"horizon_id": F("horizon_id") + 1},
        {"algorithm": "bcweb-audit-2"},
        {"after_id": F("after_id") - 1},
        {"hash": "0" * 64},
    ],
)
def test_an_altered_seal_is_named_first(change: dict[str, Any]) -> None:
    sealed(1, 2, 1)
    with unguarded(SEALS):
        AuditSeal.objects.filter(pk=2).update(**change)
    found = faults()
    assert found[0] == (FaultKind.SEAL_ALTERED, 2, None)
    assert {seal for _, seal, _ in found} == {2}


def test_an_event_and_its_seal_altered_together_show_in_the_seal_after() -> None:
    _, run, _ = sealed(1, 2, 1)
    with unguarded(EVENTS):
        AuditEvent.objects.filter(pk=run[0]).update(action="thing.undone")
    rows = event_rows(after=run[0] - 1, until=run[1], limit=10)
    forge(2, entries=entries_pack(rows))
    (fault,) = ChainCheck().faults()
    assert (fault.kind, fault.seal) == (FaultKind.SEALS_PARTED, 2)
    assert "not the one that seal 3 was made after" in fault.why


def test_a_forged_seal_that_contradicts_itself_is_named() -> None:
    _, run, _ = sealed(1, 2, 1)
    rows = event_rows(after=run[0] - 1, until=run[1], limit=10)
    forge(2, entries=entries_pack(rows[::-1]))
    assert faults()[0] == (FaultKind.SEAL_ALTERED, 2, None)


def test_a_removed_seal_is_named_and_what_follows_is_still_checked() -> None:
    _, _, run = sealed(1, 2, 2)
    sql(f"DELETE FROM {SEALS} WHERE number = 2")
    sql(f"DELETE FROM {EVENTS} WHERE id = %s", run[0])
    assert faults() == [
        (FaultKind.SEAL_MISSING, 2, None),
        (FaultKind.EVENT_MISSING, 3, run[0]),
    ]
    sql(f"DELETE FROM {SEALS} WHERE number = 1")
    assert faults()[0] == (FaultKind.SEAL_MISSING, 1, None)


def test_removed_last_seals_show_by_a_head_kept_elsewhere() -> None:
    sealed(1, 2, 1)
    kept = head()
    sql(f"DELETE FROM {SEALS} WHERE number >= 2")
    assert faults() == []
    for known in ({"expect": kept}, {"since": kept}):
        assert faults(**known) == [(FaultKind.HEAD_MISSING, 3, None)]
    # Made anew by the service itself, without one event:
    sql(f"DELETE FROM {EVENTS} WHERE id = (SELECT max(id) FROM {EVENTS})")
    assert audit_seal().seals == 1
    sealed(1)
    assert faults() == []
    for known in ({"expect": kept}, {"since": kept}):
        assert faults(**known) == [(FaultKind.HEAD_OTHER, 3, None)]
    sql(f"DELETE FROM {SEALS}")
    assert faults() == []
    assert faults(expect=kept) == [(FaultKind.HEAD_MISSING, 3, None)]


def test_a_check_since_a_head_looks_at_what_came_after() -> None:
    (first, *_), (second, *_) = sealed(2), sealed(2)
    kept = head()
    third = sealed(2)[0]
    del first
    check = ChainCheck(since=kept)
    assert list(check.faults()) == []
    assert (check.seals, check.events, check.head) == (1, 2, head())
    with unguarded(EVENTS):
        AuditEvent.objects.filter(pk__in=[second[0], third[0]]).update(action="thing.undone")
    assert faults(since=kept) == [(FaultKind.EVENT_ALTERED, 3, third[0])]
    assert [event for _, _, event in faults(expect=kept)] == [second[0], third[0]]


def test_an_erasure_leaves_the_chain_whole() -> None:
    site = make_site()
    case = submit(actor=make_actor(site=site), patient_id="P-1").case
    audit_seal()
    erase(make_actor(roles=["admin"], site=site), case)
    assert audit_seal().seals == 1
    assert faults() == []


def test_memory_is_bounded_by_batches_which_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "SEAL_EVENTS", 4)
    monkeypatch.setattr(reading, "EVENTS_AT_ONCE", 3)
    monkeypatch.setattr(reading, "SEALS_AT_ONCE", 2)
    ids = record(30)
    assert audit_seal(seconds=None) == seals.Sealing(8, 30, True)
    assert faults() == []
    with unguarded(EVENTS):
        AuditEvent.objects.filter(pk__in=[ids[3], ids[4], ids[29]]).update(request_id="x")
        AuditEvent.objects.filter(pk=ids[17]).delete()
    assert [(kind, event) for kind, _, event in faults()] == [
        (FaultKind.EVENT_ALTERED, ids[3]),
        (FaultKind.EVENT_ALTERED, ids[4]),
        (FaultKind.EVENT_MISSING, ids[17]),
        (FaultKind.EVENT_ALTERED, ids[29]),
    ]


def test_the_encoding_stays_what_old_seals_were_made_with() -> None:
    """Literal hashes: who changes the encoding names another algorithm."""
    at = epoch(datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=UTC))
    assert at == "1772368200.000005"
    content = [at, "user", "zoë", None, None, "case.viewed", "case", "a", None, None, "", [], "{}"]
    digest = event_digest(content)
    facts = SealFacts(
        number=1,
        algorithm="bcweb-audit-1",
        after_id=0,
        first_id=7,
        last_id=7,
        count=1,
        entries=entries_pack([(7, content)]),
        previous="",
        horizon_id=7,
        horizon_at=at,
        sealed_at=at,
    )
    assert facts.broken() is None
    assert facts.entries == (7).to_bytes(8, "big") + digest
    assert (digest.hex()[:16], facts.digest()[:16]) == ("9c7eec19a6443a48", "c99d96a776ba7c6a")


# --- The command -----------------------------------------------------------------------------


def verify(*options: str) -> str:
    out = StringIO()
    call_command("verify_audit", *options, stdout=out)
    return out.getvalue()


def refused(*options: str) -> tuple[int, str]:
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("verify_audit", *options, stdout=out)
    return caught.value.returncode, out.getvalue()


def test_the_command_says_whole_and_exports_the_head(tmp_path: Path) -> None:
    sealed(2)
    file = tmp_path / "head.json"
    assert verify("--json", str(file)).startswith("whole: 1 seals over 2 events, head 1:")
    told = json.loads(file.read_text())
    assert (told["number"], told["algorithm"]) == (1, "bcweb-audit-1")
    assert verify("--head").strip() == str(head()) == f"1:{told['hash']}"
    sealed(1)
    assert "whole: 1 seals over 1 events" in verify("--since-head", str(file))
    assert "whole: 2 seals over 3 events" in verify("--expect", str(head()))
    record(2)
    assert "2 events wait" in verify()


def test_the_command_tells_a_line_per_fault_and_keeps_the_old_head(tmp_path: Path) -> None:
    ((first, second, _),) = sealed(3)
    file = tmp_path / "head.json"
    verify("--json", str(file))
    kept = file.read_text()
    sealed(1)
    sql(f"DELETE FROM {EVENTS} WHERE id = %s", second)
    with unguarded(EVENTS):
        AuditEvent.objects.filter(pk=first).update(actor_label="somebody else")
    code, out = refused("--json", str(file))
    assert code == 1
    assert out.splitlines() == [
        f"event {first}: altered since seal 1",
        f"event {second}: missing (it was in seal 1)",
    ]
    assert file.read_text() == kept
    sql(f"DELETE FROM {SEALS}")
    assert refused("--since-head", str(file))[0] == 1


@pytest.mark.parametrize(
    "options",
    [
        lambda folder: ["--expect", "12"],
        lambda folder: ["--expect", "0:" + "a" * 64],
        lambda folder: ["--expect", "1:" + "A" * 64],
        lambda folder: ["--since-head", str(folder / "none.json")],
        lambda folder: ["--since-head", str(folder / "bad.json")],
        lambda folder: ["--since-head", str(folder)],
    ],
)
def test_bad_usage_is_told_apart_from_a_fault(
    options: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text('{"number": 1}')
    assert refused(*options(tmp_path))[0] == 2


def test_sealing_by_hand() -> None:
    record(2)
    out = StringIO()
    call_command("seal_audit", stdout=out)
    assert out.getvalue().strip() == "sealed 2 events in 1 seals"
    assert faults() == []
