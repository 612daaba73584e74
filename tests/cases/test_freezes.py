"""Asking for a snapshot of accepted images, the keys of patients, and what a locked one is kept
from. The making of one: tests/worker/test_freeze.py."""

from __future__ import annotations

import json
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.utils import timezone

from cases.access import SYSTEM, Actor
from cases.errors import FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import (
    AuditEvent,
    Job,
    PatientPartition,
    SnapshotFreeze,
    TrainingSnapshot,
)
from cases.selectors.freezes import freeze_get, freeze_list
from cases.selectors.snapshots import (
    snapshot_document,
    snapshot_find,
    snapshot_get,
    snapshot_list,
    snapshot_list_free,
)
from cases.services.erasure import erasure_plan
from cases.services.freeze_work import freeze_claim
from cases.services.freezes import freeze_fields_parse, freeze_request
from cases.services.jobs import job_cancel
from cases.services.leases import jobs_sweep
from cases.services.patient_keys import patient_key, patient_key_id
from cases.services.people import actor_for_token
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import training_schedule_create, training_schedule_fire
from cases.services.snapshots import snapshot_register
from cases.services.training import training_run_cancel
from cases.states import JobState
from tests.curation import TAKEN_BACK, accepted, actors, frozen_into, taken_back
from tests.factories import WORKER, at_once, live_model, make_actor, make_site, make_token
from tests.gates import make_plan
from tests.training import document_of, make_run, make_snapshot

ASKED = {"role": "locked", "name": "spring", "share": "20", "reason": "A test set."}


def ask(actor: Actor, **more: Any) -> SnapshotFreeze:
    return freeze_request(actor=actor, fields=freeze_fields_parse({**ASKED, **more}))


@pytest.fixture
def admin(db: None) -> Actor:
    return make_actor(roles=["admin"])


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ({}, {"role", "name", "reason"}),
        ({**ASKED, "role": "both"}, {"role"}),
        ({**ASKED, "name": " "}, {"name"}),
        ({**ASKED, "name": "a\nb"}, {"name"}),
        ({**ASKED, "reason": ""}, {"reason"}),
        ({**ASKED, "share": "101"}, {"share"}),
        ({**ASKED, "share": "-1"}, {"share"}),
        ({**ASKED, "share": ""}, {"share"}),
    ],
)
def test_what_is_no_request_names_its_fields(typed: dict[str, str], fields: set[str]) -> None:
    with pytest.raises(FieldInvalid) as refused:
        freeze_fields_parse(typed)
    assert set(refused.value.errors or {}) == fields


def test_a_share_is_of_a_locked_set_only() -> None:
    assert freeze_fields_parse(ASKED).share == 20
    assert freeze_fields_parse({**ASKED, "role": "training", "share": "?"}).share == 0


def test_a_request_is_a_job_with_its_trail(admin: Actor) -> None:
    made = ask(admin)
    assert (made.job.kind, made.job.state, made.job.site_id) == (
        "freeze",
        JobState.PENDING,
        admin.site_id,
    )
    event = AuditEvent.objects.get(action="freeze.created")
    assert (event.object_id, event.user_id) == (str(made.pk), admin.user_id)
    assert event.detail["role"] == "locked"
    assert freeze_get(actor=admin, freeze_id=made.pk) == made
    stranger = make_actor(roles=["admin"])
    assert not freeze_list(actor=stranger).exists()
    with pytest.raises(NotFound):
        freeze_get(actor=stranger, freeze_id=made.pk)
    with pytest.raises(NotFound):
        job_cancel(actor=stranger, job_id=made.pk)


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_only_administrators_ask_and_call_off(admin: Actor, role: str) -> None:
    made = ask(admin)
    other = make_actor(roles=[role], site=made.job.site)
    with pytest.raises(PermissionDenied):
        ask(other)
    with pytest.raises(PermissionDenied):
        freeze_list(actor=other)
    with pytest.raises(PermissionDenied):
        job_cancel(actor=other, job_id=made.pk)


def test_no_token_asks_whatever_its_scopes(db: None) -> None:
    token, _ = make_token(roles=["admin"], scopes=["admin", "read"])
    with pytest.raises(PermissionDenied, match="a person at the portal"):
        ask(actor_for_token(token))


@pytest.mark.django_db(transaction=True)
def test_of_two_who_press_at_once_one_asks() -> None:
    admin = make_actor(roles=["admin"])
    results = at_once(2, lambda: ask(admin))
    assert sorted(type(result).__name__ for result in results) == [
        "SnapshotFreeze",
        "StateConflict",
    ]
    with pytest.raises(StateConflict, match="being made already: spring"):
        ask(admin)
    # Another site's waits for its turn beside it.
    ask(make_actor(roles=["admin"]))
    claims = at_once(2, lambda: freeze_claim(actor=WORKER))
    assert sorted(claim is None for claim in claims) == [False, True]


def test_the_sweeper_rings_for_one_that_waits_but_not_while_its_worker_trains(
    admin: Actor,
) -> None:
    made = ask(admin)
    Job.objects.filter(pk=made.pk).update(available_at=timezone.now() - timedelta(hours=1))
    assert jobs_sweep(actor=WORKER)["rung"] == 1
    run = make_run()
    Job.objects.filter(pk=run.pk).update(
        state="RUNNING", attempt=1, lease_expires_at=timezone.now() + timedelta(minutes=1)
    )
    assert jobs_sweep(actor=WORKER)["rung"] == 0


# Patients' keys and sides


def test_a_key_is_of_issuer_and_id_together_and_tells_neither(settings: Any) -> None:
    key = patient_key(issuer="HOSPITAL", patient_id="P-7")
    assert key == patient_key(issuer="HOSPITAL", patient_id="P-7")
    assert len({key, patient_key(issuer="HOSPITALP", patient_id="-7")}) == 2
    assert len({key, patient_key(issuer="P-7", patient_id="HOSPITAL")}) == 2
    assert "P-7" not in key
    secret = settings.BCWEB_PATIENT_KEY
    assert len(secret) >= 32
    assert secret != settings.SECRET_KEY
    before = patient_key_id()
    settings.BCWEB_PATIENT_KEY = "another secret of thirty-two letters"
    assert patient_key(issuer="HOSPITAL", patient_id="P-7") != key
    assert patient_key_id() != before


def test_a_side_bears_no_patients_own_id(admin: Actor) -> None:
    freeze = ask(admin)
    for key in ("P-7", "hmac-sha256:P-7", ""):
        with pytest.raises(IntegrityError, match="names_no_patient"), transaction.atomic():
            PatientPartition.objects.create(
                patient_key=key, role="locked", key_id=patient_key_id(), freeze=freeze
            )


# What a locked set is kept from


def frozen(site_id: UUID | None, role: str = "locked", first: int = 100) -> TrainingSnapshot:
    document = document_of(first=first)
    made, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="spring",
        data_root="/data/spring",
        role=role,
        site_id=site_id,
    )
    return made


def test_a_locked_set_is_trained_from_by_nobody(admin: Actor) -> None:
    open_one, locked = make_snapshot(), frozen(admin.own_site)
    told = {row.pk: row.is_locked for row in snapshot_list(actor=admin)}  # type: ignore[attr-defined]
    assert told == {open_one.pk: False, locked.pk: True}
    # Newer, and yet not what "newest" means.
    assert snapshot_find(site_id=admin.own_site, text="newest") == open_one
    for snapshot in (locked, make_snapshot(first=102)):
        with pytest.raises(FieldInvalid) as refused:
            make_run(actor=admin, snapshot=snapshot)
        assert "with the locked set spring" in str(refused.value.errors)


def test_a_schedule_does_not_take_a_locked_set(admin: Actor) -> None:
    live_model()
    open_one = make_snapshot()
    frozen(admin.own_site)
    schedule = training_schedule_create(
        actor=admin,
        fields=schedule_fields_parse({"name": "nightly", "cron": "30 2 * * 1"}),
    )
    firing = training_schedule_fire(actor=WORKER, schedule_id=schedule.pk)
    assert firing is not None
    assert firing.run is not None
    assert firing.run.snapshot == open_one


# Whose they are


def test_a_sites_patients_are_seen_and_trained_on_at_that_site_only(admin: Actor) -> None:
    stranger = make_actor(roles=["admin"])
    public, own = make_snapshot(), frozen(admin.own_site, role="training")
    assert list(snapshot_list(actor=admin)) == [own, public]
    assert list(snapshot_list_free(actor=admin)) == [own, public]
    assert snapshot_find(site_id=admin.own_site, text="newest") == own
    assert make_run(actor=admin, snapshot=own).snapshot == own
    assert list(snapshot_list(actor=stranger)) == [public]
    assert list(snapshot_list_free(actor=stranger)) == [public]
    for text, found in (("newest", public), (public.pk, public)):
        assert snapshot_find(site_id=stranger.own_site, text=text) == found
    for look in (
        lambda: snapshot_get(actor=stranger, snapshot_id=own.pk),
        lambda: snapshot_find(site_id=stranger.own_site, text=own.pk),
    ):
        with pytest.raises(NotFound):
            look()
    with pytest.raises(FieldInvalid) as refused:
        make_run(actor=stranger, snapshot=own)
    assert refused.value.errors == {"snapshot": ["There is no snapshot with this id."]}
    assert make_run(actor=stranger, snapshot=public).snapshot == public


def test_no_plan_of_another_site_locks_a_sites_patients(admin: Actor) -> None:
    locked = frozen(admin.own_site)
    with pytest.raises(FieldInvalid) as refused:
        make_plan(locked)
    assert refused.value.errors == {"locked_set": ["There is no snapshot with this id."]}
    assert make_plan(locked, actor=admin).locked_set == locked


def test_a_schedule_takes_the_newest_of_its_own_site(admin: Actor) -> None:
    live_model()
    public, fields = make_snapshot(), {"name": "nightly", "cron": "30 2 * * 1"}
    own = frozen(admin.own_site, role="training")
    for actor, taken in ((make_actor(roles=["admin"]), public), (admin, own)):
        schedule = training_schedule_create(actor=actor, fields=schedule_fields_parse(fields))
        firing = training_schedule_fire(actor=WORKER, schedule_id=schedule.pk)
        assert firing is not None
        assert firing.run is not None
        assert firing.run.snapshot == taken
        training_run_cancel(actor=actor, run_id=firing.run.pk, reason="The next one's turn.")


def test_the_set_up_tells_the_site_of_what_was_frozen_before(admin: Actor) -> None:
    public, made = make_snapshot(), frozen(None)
    freeze = ask(admin)
    SnapshotFreeze.objects.filter(pk=freeze.pk).update(snapshot=made)
    import_module("cases.migrations.0011_snapshot_site").tell_sites(apps, None)
    sites = dict(TrainingSnapshot.objects.values_list("pk", "site_id"))
    assert sites == {public.pk: None, made.pk: admin.own_site}


def test_what_an_earlier_version_froze_is_nobodys_until_it_is_frozen_again(admin: Actor) -> None:
    made = frozen(None)
    assert not snapshot_list(actor=admin).exists()
    snapshot_register(
        actor=SYSTEM,
        document=snapshot_document(made),
        content=b"{}",
        name="again",
        data_root="",
        role="locked",
        site_id=admin.own_site,
    )
    assert list(snapshot_list(actor=admin)) == [made]
    assert not snapshot_list(actor=make_actor(roles=["admin"])).exists()


# What is taken back


@pytest.mark.django_db
@pytest.mark.parametrize("how", TAKEN_BACK)
def test_nobody_trains_from_a_snapshot_that_holds_what_was_taken_back(how: str) -> None:
    live_model()
    reader, admin = actors(make_site())
    candidate = accepted(reader=reader, admin=admin)
    public, own = make_snapshot(), frozen(admin.own_site, role="training")
    frozen_into(own, candidate, admin=admin, role="training")
    schedule = training_schedule_create(
        actor=admin, fields=schedule_fields_parse({"name": "nightly", "cron": "30 2 * * 1"})
    )
    for expected in (own, public):
        assert snapshot_find(site_id=admin.own_site, text="newest") == expected
        firing = training_schedule_fire(actor=WORKER, schedule_id=schedule.pk)
        assert firing is not None
        assert firing.run is not None
        assert firing.run.snapshot == expected
        training_run_cancel(actor=admin, run_id=firing.run.pk, reason="The next one's turn.")
        if expected == own:
            assert erasure_plan(actor=admin, case_id=candidate.image.case_id).counts["frozen"] == 1
            taken_back(how, candidate, reader=reader, admin=admin)
    with pytest.raises(FieldInvalid) as refused:
        make_run(actor=admin, snapshot=own)
    assert "1 of its pictures may not be trained on" in str(refused.value.errors)


def test_a_snapshots_role_is_one_of_two_or_none(db: None) -> None:
    snapshot = make_snapshot()
    with pytest.raises(IntegrityError, match="role_known"), transaction.atomic():
        TrainingSnapshot.objects.filter(pk=snapshot.pk).update(role="both")
