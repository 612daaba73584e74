"""The audit trail: written with its actor, and changed by nobody, says the database."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from cases.access import Actor, ActorKind
from cases.errors import StateConflict
from cases.models import AuditEvent, JobEvent
from cases.selectors.audit import audit_list
from cases.services.audit import audit_record
from cases.services.rollback import model_reject
from cases.services.serving import serving_suspend
from tests.cases.governing import admin, approved, approver, asked, candidate, damage
from tests.factories import PASSWORD, live_model, make_actor, make_user, submit

pytestmark = pytest.mark.django_db


def test_an_event_without_an_actor_is_refused() -> None:
    with pytest.raises(ValueError, match="actor"):
        audit_record(actor=Actor(kind=ActorKind.USER, label=""), action="x.done", object_type="x")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cases_auditevent SET action = 'x'",
        "DELETE FROM cases_auditevent",
        "TRUNCATE cases_auditevent",
        "TRUNCATE cases_auditevent, cases_jobevent CASCADE",
        "UPDATE cases_jobevent SET to_state = 'x'",
        "DELETE FROM cases_jobevent",
        "DELETE FROM cases_modelevent",
    ],
)
def test_the_database_refuses_to_change_or_remove_what_was_written(statement: str) -> None:
    submit()
    # Pending foreign-key checks of this test's own transaction would refuse a TRUNCATE first.
    connection.check_constraints()
    count = (AuditEvent.objects.count(), JobEvent.objects.count())
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        connection.cursor().execute(statement)
    assert (AuditEvent.objects.count(), JobEvent.objects.count()) == count


@pytest.mark.parametrize(
    "switch",
    [
        "SELECT set_config('pgtrigger.ignore', '{cases_auditevent}', true)",
        "SET LOCAL session_replication_role = replica",
    ],
)
def test_no_session_variable_switches_the_trigger_off(switch: str) -> None:
    submit()
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(switch)
        cursor.execute("DELETE FROM cases_auditevent")


def test_a_change_that_fails_leaves_no_event() -> None:
    before = AuditEvent.objects.count()
    with pytest.raises(RuntimeError), transaction.atomic():
        audit_record(
            actor=Actor(kind=ActorKind.SYSTEM, label="system"), action="x.done", object_type="x"
        )
        raise RuntimeError
    assert AuditEvent.objects.count() == before


def test_sign_in_and_failed_sign_in_are_told_without_what_was_typed(client) -> None:
    user = make_user(roles=["radiologist"])
    client.login(username=user.username, password=PASSWORD)
    client.login(username=user.username, password="wrong-secret")
    client.login(username="my-password-by-mistake", password="x")
    events = list(AuditEvent.objects.filter(action__startswith="user.sign").order_by("id"))
    assert [(e.action, e.object_id) for e in events] == [
        ("user.signed_in", str(user.pk)),
        ("user.sign_in_failed", str(user.pk)),
        ("user.sign_in_failed", ""),
    ]
    trail = " ".join(str(vars(event)) for event in events)
    assert "wrong-secret" not in trail
    assert "mistake" not in trail


def test_what_is_done_to_the_model_that_all_sites_share_is_seen_by_the_auditors_of_all() -> None:
    live_model()
    approved(asked(candidate()))
    broken = candidate()
    request = asked(broken)
    damage(broken)
    with pytest.raises(StateConflict):
        approved(request)
    model_reject(actor=approver(), model_id=candidate().pk, reason="Worse.")
    serving_suspend(actor=admin(), reason="Strange heatmaps.")
    submit()
    elsewhere = audit_list(actor=make_actor(roles=["auditor"]))
    seen = set(elsewhere.values_list("action", flat=True))
    assert {
        "model.candidate",
        "model.gated",
        "model.active",
        "model.retired",
        "model.rejected",
        "model.refused",
        "promotion.requested",
        "promotion.approved",
        "serving.suspended",
    } <= seen
    # A site's own acts stay its own.
    assert "job.created" not in seen


def test_an_event_of_every_site_names_none() -> None:
    user = make_user(roles=["auditor"])
    actor = Actor(kind=ActorKind.USER, label="a", site_id=user.site_id)
    with pytest.raises(ValueError, match="names none"):
        audit_record(
            actor=actor, action="x.done", object_type="x", site_id=user.site_id, every_site=True
        )
