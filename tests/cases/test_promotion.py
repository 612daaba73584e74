"""Candidates, and the two people it takes to make one live."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models.functions import Now

from cases.access import SYSTEM, Actor, ActorKind, Role, Scope
from cases.errors import FieldInvalid, PermissionDenied, StateConflict
from cases.models import (
    AuditEvent,
    GateVerdict,
    ModelEvent,
    ModelFault,
    ModelVersion,
    PromotionRequest,
    TrainingRun,
    User,
)
from cases.services.learning import model_candidate_register, model_gate_record
from cases.services.people import actor_for_token, actor_for_user
from cases.services.promotion import (
    promotion_approve,
    promotion_decline,
    promotion_request,
    promotion_withdraw,
)
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import training_schedule_create, training_schedule_fire
from cases.states import ModelState
from tests.cases.governing import (
    admin,
    approved,
    approver,
    asked,
    candidate,
    damage,
    gate,
    live_id,
    promoted,
)
from tests.factories import at_once, live_model, make_actor, make_token, make_user
from tests.training import make_run, make_snapshot, trained

pytestmark = pytest.mark.django_db

A, S = ModelState.ACTIVE, ModelState.SHADOW


# Candidates


def test_a_candidate_comes_with_its_verdict_and_touches_no_patient() -> None:
    live = live_model()
    model = candidate("passed")
    assert (model.state, model.card["origin"]) == ("CANDIDATE", "training")
    assert model.gate.state == "passed"
    assert live_id() == live.pk
    trail = AuditEvent.objects.filter(object_id=str(model.pk)).order_by("id")
    assert [event.action for event in trail] == ["model.candidate", "model.gated"]


def test_registering_twice_is_once() -> None:
    model = candidate(weights=b"the same")
    again, is_new = model_candidate_register(
        actor=SYSTEM, weights=b"the same", card=model.card, gate=gate("failed")
    )
    assert (again.pk, is_new) == (model.pk, False)
    assert GateVerdict.objects.get().state == "passed"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"weights": b"other"}, ValueError),
        ({"gate": {**gate(), "state": "perhaps"}}, ValueError),
        ({"gate": {**gate(), "limits": "all"}}, ValueError),
        ({"gate": {**gate(), "plan_sha256": "no"}}, ValueError),
        ({"actor": Actor(kind=ActorKind.USER, label="x")}, PermissionDenied),
    ],
)
def test_a_candidate_that_is_not_sound_is_not_kept(change: dict[str, Any], error: type) -> None:
    weights = b"w"
    card = {"version": "v", "weights": {"sha256": hashlib.sha256(weights).hexdigest()}}
    given = {"actor": SYSTEM, "weights": weights, "card": card, "gate": gate(), **change}
    with pytest.raises(error), transaction.atomic():
        model_candidate_register(**given)
    assert not ModelVersion.objects.exists()


def test_a_name_is_given_once() -> None:
    model = candidate()
    other = {**model.card, "weights": {"sha256": hashlib.sha256(b"z").hexdigest()}}
    with pytest.raises(StateConflict), transaction.atomic():
        model_candidate_register(actor=SYSTEM, weights=b"z", card=other)


def test_a_file_cannot_call_itself_shipped() -> None:
    weights = b"claims"
    card = {
        "version": "claims",
        "origin": "shipped",
        "weights": {"sha256": hashlib.sha256(weights).hexdigest()},
    }
    model, _ = model_candidate_register(actor=SYSTEM, weights=weights, card=card, origin="import")
    assert model.card["origin"] == "import"


# Who may ask for what


@pytest.mark.parametrize("state", ["failed", "insufficient_evidence"])
@pytest.mark.parametrize("target", [S, A])
def test_a_gate_that_did_not_pass_forbids_promotion(state: str, target: ModelState) -> None:
    model = candidate(state)
    with pytest.raises(StateConflict):
        asked(model, target)
    assert not PromotionRequest.objects.exists()


def test_a_model_without_a_verdict_may_go_into_shadow_and_never_live() -> None:
    live_model()
    model = candidate(None, origin="import")
    with pytest.raises(StateConflict, match="No gate was run"):
        asked(model, A)
    promoted(model, S)
    assert model.state == S
    with pytest.raises(StateConflict, match="No gate was run"):
        asked(model, A)
    model_gate_record(actor=admin(), model_id=model.pk, gate=gate())
    assert promoted(model, A).state == A


def test_a_verdict_is_given_once_and_never_changed() -> None:
    model = candidate("failed")
    with pytest.raises(StateConflict, match="already"):
        model_gate_record(actor=admin(), model_id=model.pk, gate=gate())
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        GateVerdict.objects.update(state="passed")
    with pytest.raises(StateConflict, match="Only a candidate"):
        model_gate_record(actor=admin(), model_id=live_model().pk, gate=gate())


@pytest.mark.parametrize("role", [r for r in Role if r not in (Role.ADMIN, Role.APPROVER)])
def test_others_neither_ask_nor_decide(role: Role) -> None:
    model = candidate()
    with pytest.raises(PermissionDenied):
        asked(model, by=make_actor(roles=[role]))
    request = asked(model)
    for decide in (promotion_approve, promotion_decline):
        more = {"expected_active": live_id()} if decide is promotion_approve else {}
        with pytest.raises(PermissionDenied):
            decide(actor=make_actor(roles=[role]), request_id=request.pk, reason="x", **more)


def test_an_admin_asks_and_does_not_decide() -> None:
    request = asked(candidate())
    with pytest.raises(PermissionDenied):
        approved(request, by=admin())


def test_no_token_promotes_whatever_its_scopes_and_owner() -> None:
    model = candidate()
    request = asked(model)
    token, _ = make_token(scopes=list(Scope), roles=list(Role))
    bearer = actor_for_token(token)
    for actor in (bearer, SYSTEM, Actor(kind=ActorKind.COMMAND, label="manage.py x")):
        with pytest.raises(PermissionDenied):
            approved(request, by=actor)
        with pytest.raises(PermissionDenied):
            asked(candidate(), by=actor)
    model.refresh_from_db()
    assert model.state == "CANDIDATE"


@pytest.mark.parametrize("reason", ["", "  ", "\x00", "x" * 501])
def test_a_reason_is_needed(reason: str) -> None:
    model = candidate()
    with pytest.raises(FieldInvalid):
        promotion_request(actor=admin(), model_id=model.pk, target=A, reason=reason)
    request = asked(model)
    with pytest.raises(FieldInvalid):
        promotion_approve(
            actor=approver(), request_id=request.pk, reason=reason, expected_active=None
        )


# Two people


def test_one_asks_another_approves_and_the_model_is_live() -> None:
    old, model = live_model(), candidate()
    who, decider = admin(), approver()
    request = approved(asked(model, by=who), by=decider)
    model.refresh_from_db()
    old.refresh_from_db()
    assert (model.state, old.state) == (A, "RETIRED")
    assert (request.requested_by_id, request.decided_by_id) == (who.user_id, decider.user_id)
    moves = ModelEvent.objects.filter(actor=decider.label).order_by("id")
    assert [(m.model_version_id, m.to_state) for m in moves] == [
        (old.pk, "RETIRED"),
        (model.pk, "ACTIVE"),
    ]
    # At no moment was there none.
    assert moves[0].at == moves[1].at
    told = AuditEvent.objects.get(action="promotion.approved")
    assert (told.user_id, told.detail["reason"]) == (decider.user_id, "I looked at the figures.")


def test_nobody_approves_what_they_asked_for_not_even_with_both_roles() -> None:
    both = actor_for_user(make_user(roles=[Role.ADMIN, Role.APPROVER]))
    request = asked(candidate(), by=both)
    with pytest.raises(PermissionDenied, match="second person"):
        approved(request, by=both)
    with pytest.raises(PermissionDenied, match="second person"):
        promotion_decline(actor=both, request_id=request.pk, reason="no")
    with pytest.raises(IntegrityError, match="second_person"), transaction.atomic():
        PromotionRequest.objects.update(
            decision="approved",
            decided_by_id=both.user_id,
            decided_at=Now(),
            decision_reason="by hand",
        )


def scheduled(actor: Actor) -> TrainingRun:
    """The run of a schedule that ``actor`` added."""
    make_snapshot()
    fields = schedule_fields_parse({"name": "nightly", "cron": "30 2 * * 1"})
    schedule = training_schedule_create(actor=actor, fields=fields)
    training_schedule_fire(actor=SYSTEM, schedule_id=schedule.pk)
    return TrainingRun.objects.get(schedule=schedule)


def by_token(actor: Actor) -> TrainingRun:
    token, _ = make_token(scopes=[Scope.ADMIN], user=User.objects.get(pk=actor.user_id))
    return make_run(actor=actor_for_token(token))


def by_hand(actor: Actor) -> TrainingRun:
    return make_run(actor=actor)


@pytest.mark.parametrize("order", [by_hand, by_token, scheduled])
@pytest.mark.parametrize("target", [S, A])
def test_who_ordered_the_training_does_not_approve_what_came_of_it(
    order: Callable[[Actor], TrainingRun], target: ModelState
) -> None:
    live_model()
    both = actor_for_user(make_user(roles=[Role.ADMIN, Role.APPROVER]))
    model = trained(order(both))
    model_gate_record(actor=admin(), model_id=model.pk, gate=gate())
    # Not even where somebody else asks for it.
    request = asked(model, target, by=admin())
    with pytest.raises(PermissionDenied, match="ordered the training"):
        approved(request, by=both)
    request.refresh_from_db()
    model.refresh_from_db()
    assert (request.decision, model.state) == ("", "CANDIDATE")
    # Turning it down lets nothing go live.
    promotion_decline(actor=both, request_id=request.pk, reason="Not yet.")
    assert promoted(model, target).state == target


def test_a_request_is_decided_once() -> None:
    live_model()
    request = approved(asked(candidate()))
    with pytest.raises(StateConflict, match="approved"):
        approved(request)
    with pytest.raises(StateConflict):
        promotion_decline(actor=approver(), request_id=request.pk, reason="late")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        PromotionRequest.objects.update(reason="another")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        PromotionRequest.objects.all().delete()


def test_declined_the_model_stays_a_candidate_and_may_be_asked_for_again() -> None:
    model = candidate()
    request = asked(model)
    with pytest.raises(StateConflict, match="open already"), transaction.atomic():
        asked(model)
    promotion_decline(actor=approver(), request_id=request.pk, reason="Too few cases.")
    model.refresh_from_db()
    assert model.state == "CANDIDATE"
    assert asked(model).decision == ""


def test_only_who_asked_withdraws() -> None:
    who = admin()
    request = asked(candidate(), by=who)
    with pytest.raises(PermissionDenied):
        promotion_withdraw(actor=admin(), request_id=request.pk, reason="x")
    assert promotion_withdraw(actor=who, request_id=request.pk, reason="x").decision == "withdrawn"
    with pytest.raises(StateConflict):
        approved(request)


def test_approving_while_the_live_model_changed_changes_nothing() -> None:
    shown = live_model().pk
    first, second = candidate(), candidate()
    request = asked(second)
    promoted(first)
    with pytest.raises(StateConflict, match=first.version):
        promotion_approve(
            actor=approver(), request_id=request.pk, reason="yes", expected_active=shown
        )
    request.refresh_from_db()
    second.refresh_from_db()
    assert (request.decision, second.state, live_id()) == ("", "CANDIDATE", first.pk)


def test_one_model_is_in_shadow_at_a_time() -> None:
    live_model()
    first, second = promoted(candidate(), S), candidate()
    request = asked(second, S)
    with pytest.raises(StateConflict, match=first.version):
        approved(request)
    with pytest.raises(IntegrityError, match="one_shadow"), transaction.atomic():
        ModelVersion.objects.filter(pk=second.pk).update(state="SHADOW")
    assert promoted(first, A).state == A
    approved(request)
    second.refresh_from_db()
    assert second.state == S


@pytest.mark.parametrize("target", [ModelState.RETIRED, ModelState.REJECTED, ModelState.CANDIDATE])
def test_only_shadow_and_live_can_be_asked_for(target: ModelState) -> None:
    with pytest.raises(FieldInvalid):
        asked(candidate(), target)


def test_a_live_or_retired_model_is_not_promoted() -> None:
    old, model = live_model(), candidate()
    promoted(model)
    for wrong in (old, model):
        with pytest.raises(StateConflict):
            asked(ModelVersion.objects.get(pk=wrong.pk))


@pytest.mark.django_db(transaction=True)
def test_of_two_approvers_at_once_one_wins() -> None:
    live_model()
    model = candidate()
    request = asked(model)
    pool = [approver(), approver()]
    shown = live_id()

    def press() -> PromotionRequest:
        return promotion_approve(
            actor=pool.pop(), request_id=request.pk, reason="yes", expected_active=shown
        )

    found = at_once(2, press)
    assert sorted(type(one).__name__ for one in found) == ["PromotionRequest", "StateConflict"]
    assert live_id() == model.pk
    assert AuditEvent.objects.filter(action="promotion.approved").count() == 1
    assert ModelEvent.objects.filter(model_version=model, to_state="ACTIVE").count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_models_approved_at_once_leave_one_live_and_one_told_why() -> None:
    live_model()
    requests = [asked(candidate()), asked(candidate())]
    pool = [(approver(), request) for request in requests]
    shown = live_id()

    def press() -> PromotionRequest:
        actor, request = pool.pop()
        return promotion_approve(
            actor=actor, request_id=request.pk, reason="yes", expected_active=shown
        )

    found = at_once(2, press)
    assert sorted(type(one).__name__ for one in found) == ["PromotionRequest", "StateConflict"]
    assert ModelVersion.objects.filter(state="ACTIVE").count() == 1
    assert PromotionRequest.objects.filter(decision="").count() == 1


# Tampered files


def test_a_model_whose_stored_bytes_changed_does_not_go_live_and_the_page_will_say_so() -> None:
    live, model = live_model(), candidate()
    request = asked(model)
    damage(model)
    for _ in range(2):
        with pytest.raises(StateConflict, match="SHA-256"):
            approved(request)
    request.refresh_from_db()
    assert (request.decision, live_id()) == ("", live.pk)
    # Once, however often somebody presses.
    assert ModelFault.objects.get().code == "file_damaged"
    assert AuditEvent.objects.filter(action="model.refused").count() == 1
