"""Plans declared before a training: what they may say, and what keeps a locked set locked."""

from __future__ import annotations

import hashlib
import json
from typing import Any, get_args

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from cases.access import SYSTEM, Role
from cases.errors import FieldInvalid, IdempotencyConflict, PermissionDenied
from cases.models import AuditEvent, GatePlan, TrainingRun, TrainingSnapshot
from cases.selectors.snapshots import snapshot_find
from cases.services.gate_fields import gate_plan_parse, plan_sha256
from cases.services.gates import gate_plan_create
from cases.services.imported_patients import imported_patient_key, imported_patients_keep
from cases.services.locked_sets import Pictures, shared
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import training_schedule_create, training_schedule_fire
from cases.services.snapshots import snapshot_register
from cases.services.training import training_run_cancel, training_run_request
from cases.services.training_fields import TrainingPlan
from cases.storage import uploads
from cases.vocabulary import BETTER_BELOW, GateMetric, IfRunning, LimitAgainst, LimitBy
from ml import limits as ml_limits
from tests.factories import make_actor, make_site, make_user, unique
from tests.gates import SENSITIVITY, make_locked_set, make_plan, plan_raw
from tests.training import document_of, make_run, make_snapshot

pytestmark = pytest.mark.django_db


# The same rules as ml.limits, which cases does not import


def test_the_vocabularies_are_those_of_the_gate() -> None:
    assert [metric.value for metric in GateMetric] == list(ml_limits.METRICS)
    assert {metric.value for metric in BETTER_BELOW} == ml_limits.BETTER_BELOW
    assert [value.value for value in LimitAgainst] == list(get_args(ml_limits.Against))
    assert [value.value for value in LimitBy] == list(get_args(ml_limits.By))


def test_a_plan_has_the_hash_that_the_gate_gives_it_also_after_the_database_kept_it() -> None:
    made = make_plan(
        name="Größe",
        limits=[
            {"metric": "auc_malignant", "bound": -0.02, "against": "active"},
            {"metric": "ece", "bound": "1e-05", "by": "value"},
            {"metric": "coverage", "bound": 1, "source": "made"},
            {"metric": "brier", "bound": -0.0},
        ],
    )
    kept = GatePlan.objects.get(pk=made.pk)
    assert kept.sha256 == plan_sha256(kept.document) == ml_limits.plan_sha256(kept.document)
    judged = ml_limits.GatePlan.from_dict(kept.document)
    assert judged.to_dict()["limits"] == kept.document["limits"]
    assert (judged.rounds, judged.seed) == (ml_limits.ROUNDS, 0)


# What a plan may say


def test_a_plan_is_kept_as_declared_with_who_and_when() -> None:
    site = make_site()
    admin = make_actor(roles=["admin"], site=site)
    names = [make_user(roles=[Role.APPROVER], site=site).username for _ in range(2)]
    locked = make_locked_set()
    plan = make_plan(locked, actor=admin, approvers=[*reversed(names), names[0]], seed="7")
    assert plan.document == {
        "locked_set": locked.pk,
        "limits": [
            {
                "metric": "sensitivity",
                "bound": 0.9,
                "against": "absolute",
                "by": "interval",
                "source": None,
            }
        ],
        "minimum_malignant_patients": 1,
        "rounds": 2000,
        "seed": 7,
        "approvers": sorted(names),
    }
    assert (plan.created_by, plan.created_by_user_id) == (admin.label, admin.user_id)
    assert plan.malignant_patients == 2
    told = AuditEvent.objects.get(action="gate_plan.created")
    assert told.detail["plan_sha256"] == plan.sha256


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"name": " "}, "name", "Give a name"),
        ({"name": "x" * 81}, "name", "80"),
        ({"locked_set": "newest"}, "locked_set", "Choose a snapshot"),
        ({"locked_set": "0" * 64}, "locked_set", "no snapshot"),
        ({"limits": []}, "limits", "at least one"),
        ({"limits": "sensitivity"}, "limits", "at least one"),
        ({"limits": [SENSITIVITY] * 41}, "limits", "At most"),
        ({"limits": [SENSITIVITY, 3]}, "limits", "Limit 2"),
        ({"limits": [{"metric": "charm", "bound": 1}]}, "limits", "choose metric among"),
        ({"limits": [{**SENSITIVITY, "bound": 1.01}]}, "limits", "from 0 to 1"),
        ({"limits": [{**SENSITIVITY, "bound": True}]}, "limits", "from 0 to 1"),
        ({"limits": [{**SENSITIVITY, "bound": "NaN"}]}, "limits", "from 0 to 1"),
        ({"limits": [{**SENSITIVITY, "bound": -0.1}]}, "limits", "from 0 to 1"),
        ({"limits": [{**SENSITIVITY, "bound": -2, "against": "active"}]}, "limits", "from -1 to 1"),
        ({"limits": [{**SENSITIVITY, "by": "eye"}]}, "limits", "choose by among"),
        ({"limits": [{**SENSITIVITY, "against": "all"}]}, "limits", "choose against among"),
        ({"limits": [{**SENSITIVITY, "upper": 1}]}, "limits", "upper is not known"),
        ({"limits": [{**SENSITIVITY, "source": "moon"}]}, "limits", "no source moon; it has made"),
        ({"minimum_malignant_patients": 0}, "minimum_malignant_patients", "from 1"),
        ({"minimum_malignant_patients": None}, "minimum_malignant_patients", "from 1"),
        ({"rounds": 99}, "rounds", "from 100"),
        ({"seed": "many"}, "seed", "whole number"),
        ({"approvers": "jo"}, "approvers", "list"),
        ({"approvers": ["nobody"]}, "approvers", "no approver of your site"),
    ],
)
def test_what_cannot_be_is_named_by_field(change: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(FieldInvalid) as error:
        raw = {**plan_raw(), **change}
        gate_plan_create(actor=make_actor(roles=["admin"]), fields=gate_plan_parse(raw))
    told = error.value.errors or {}
    assert list(told) == [field]
    assert words in " ".join(told[field])
    assert not GatePlan.objects.exists()


def test_an_approver_of_another_site_and_one_without_the_role_are_refused() -> None:
    site = make_site()
    other = make_user(roles=[Role.APPROVER]).username
    admin = make_user(roles=[Role.ADMIN], site=site).username
    with pytest.raises(FieldInvalid) as error:
        make_plan(site=site, approvers=[other, admin])
    assert len((error.value.errors or {})["approvers"]) == 2


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.ADMIN])
def test_only_administrators_declare_plans(role: Role) -> None:
    with pytest.raises(PermissionDenied):
        make_plan(actor=make_actor(roles=[role]))


def test_a_name_is_given_once_at_a_site_and_a_plan_never_changes() -> None:
    site = make_site()
    plan = make_plan(site=site, name="spring")
    with pytest.raises(FieldInvalid) as error:
        make_plan(site=site, name="spring")
    assert list(error.value.errors or {}) == ["name"]
    make_plan(name="spring")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        GatePlan.objects.filter(pk=plan.pk).update(sha256="0" * 64)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        GatePlan.objects.filter(pk=plan.pk).delete()


# Locked sets


def registered(document: dict[str, Any], **more: Any) -> TrainingSnapshot:
    document["id"] = hashlib.sha256(json.dumps([document, unique()]).encode()).hexdigest()
    made, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="made",
        **{"data_root": "/data/made", **more},
    )
    return made


def with_files(first: int, **keys: Any) -> dict[str, Any]:
    """A document whose entries have ``keys``; values that are lists are dealt out in turn."""
    document = document_of(first=first)
    for place, entry in enumerate(document["files"]):
        for key, value in keys.items():
            entry[key] = value[place % len(value)] if isinstance(value, list) else value
    return document


def test_a_locked_set_needs_both_sides_no_conflict_and_known_pictures() -> None:
    one_class = document_of(first=200)
    one_class["classes"] = {"benign": 6, "malignant": 0, "normal": 0}
    conflict = document_of(first=300)
    conflict["grouping"]["conflicting_groups"] = 1
    damaged = make_locked_set(400)
    uploads().delete(damaged.storage_name)
    for snapshot, words in (
        (registered(one_class), "malignant pictures and others"),
        (registered(conflict), "1 group"),
        (registered(document_of(first=500), data_root=""), "Nobody has told where"),
        (damaged, "cannot be read"),
    ):
        with pytest.raises(FieldInvalid) as error:
            make_plan(snapshot)
        assert words in (error.value.errors or {})["locked_set"][0]


def test_nobody_trains_on_a_picture_of_a_locked_set() -> None:
    plan = make_plan(make_snapshot(6, first=3), name="spring")
    with pytest.raises(FieldInvalid) as error:
        make_run(site=plan.site, snapshot=make_snapshot(6))
    told = (error.value.errors or {})["snapshot"][0]
    assert "3 pictures with the locked set of plan spring" in told
    # At another site neither, and it is told no names.
    with pytest.raises(FieldInvalid) as error:
        make_run(snapshot=make_snapshot(6))
    assert "a plan of another site" in (error.value.errors or {})["snapshot"][0]
    with pytest.raises(FieldInvalid):
        make_run(snapshot=plan.locked_set)
    assert not TrainingRun.objects.exists()
    assert make_run(snapshot=make_snapshot(6, first=20)).plan is None


def test_nor_on_one_that_looks_the_same_or_on_a_patient_of_it() -> None:
    phashes = [f"{n * 0x1357_9BDF_0246_8ACE % 2**64:016x}" for n in range(1, 7)]
    close = [f"{int(text, 16) ^ 0b10000000000000011:016x}" for text in phashes]
    far = [f"{int(text, 16) ^ 0xF0F0:016x}" for text in phashes]
    make_plan(registered(with_files(100, phash=phashes, patient=["key-a", "key-b"])))
    with pytest.raises(FieldInvalid) as error:
        make_run(snapshot=registered(with_files(0, phash=close)))
    told = (error.value.errors or {})["snapshot"][0]
    assert "6 pictures that look the same" in told
    with pytest.raises(FieldInvalid) as error:
        make_run(snapshot=registered(with_files(0, phash=far, patient=["key-b"])))
    assert "1 patient with" in (error.value.errors or {})["snapshot"][0]
    # A number counts the patients of one document and says nothing of another's: who it is, only
    # an import can tell.
    numbered = registered(with_files(0, phash=far, patient=[0, 1]))
    with pytest.raises(FieldInvalid) as error:
        make_run(snapshot=numbered)
    assert "import its folder again" in (error.value.errors or {})["snapshot"][0]
    imported_patients_keep(numbered, [imported_patient_key("made", n) for n in (0, 1)])
    make_run(snapshot=numbered)


def test_a_locked_set_of_another_site_is_told_without_its_name() -> None:
    site = make_site()
    registered(document_of(6, first=3), role="locked", site_id=site.pk)
    for asker, whose in ((site, "the locked set made ("), (None, "a locked set of another site,")):
        with pytest.raises(FieldInvalid) as error:
            make_run(site=asker, snapshot=make_snapshot(6))
        told = (error.value.errors or {})["snapshot"][0]
        assert f"It shares 3 pictures with {whose}" in told
        assert ("made" in told) == (asker is site)


def test_equal_files_count_once() -> None:
    one = Pictures(frozenset({"a", "b"}), frozenset(), frozenset({1, 2}))
    assert shared(one, one).words == "2 pictures"
    assert (
        shared(one, Pictures(frozenset({"c"}), frozenset(), frozenset({0xFFFF << 40}))).words == ""
    )


def test_what_was_trained_on_cannot_be_locked_any_more() -> None:
    run = make_run(snapshot=make_snapshot(6))
    with pytest.raises(FieldInvalid) as error:
        make_plan(make_snapshot(6, first=5))
    assert "1 picture with snapshot made" in (error.value.errors or {})["locked_set"][0]
    # A training that ended without a model taught nothing.
    training_run_cancel(actor=SYSTEM, run_id=run.pk, reason="no")
    make_plan(make_snapshot(6, first=5))


def test_what_a_freeze_made_to_train_from_cannot_be_locked_before_anybody_trains() -> None:
    frozen = document_of(6)
    frozen["files"][0]["patient"] = "hmac-sha256:" + "a" * 64
    site = make_site()
    registered(frozen, role="training", site_id=site.pk)
    for document, words in (
        (document_of(6, first=5), "1 picture with"),
        (with_files(100, patient=["hmac-sha256:" + "a" * 64]), "1 patient with"),
    ):
        # At another site it is told no name.
        for asker, whose in ((site, "snapshot made ("), (None, "a snapshot of another site,")):
            with pytest.raises(FieldInvalid) as error:
                make_plan(registered(document), site=asker)
            assert f"{words} {whose}" in (error.value.errors or {})["locked_set"][0]
    make_plan(registered(with_files(200, patient=["hmac-sha256:" + "b" * 64])))


def test_nor_whose_patients_nobody_knows() -> None:
    with pytest.raises(FieldInvalid) as error:
        make_plan(registered(with_files(100, patient=[0, 1])))
    assert "import its folder again" in (error.value.errors or {})["locked_set"][0]


def test_the_newest_snapshot_to_train_from_is_never_a_locked_one() -> None:
    free = make_snapshot()
    plan = make_plan()
    assert snapshot_find(site_id=make_site().pk, text="newest") == free
    schedule = training_schedule_create(
        actor=make_actor(roles=["admin"], site=plan.site),
        fields=schedule_fields_parse({"name": "nightly", "cron": "30 2 * * 1", "init": "none"}),
    )
    firing = training_schedule_fire(actor=SYSTEM, schedule_id=schedule.pk)
    assert firing is not None
    assert firing.run is not None
    assert firing.run.snapshot == free
    training_run_cancel(actor=SYSTEM, run_id=firing.run.pk, reason="no")
    # And where the newest one shares pictures with it, the firing says so.
    make_snapshot(first=105)
    firing = training_schedule_fire(actor=SYSTEM, schedule_id=schedule.pk)
    assert firing is not None
    assert firing.run is not None
    assert firing.run.snapshot == free
    assert f"with the locked set of plan {plan.name}" in firing.why


# Runs with a plan


def asked(plan: GatePlan | None, *, key: str = "", **more: Any) -> TrainingRun:
    site = more.pop("site", plan.site if plan else None)
    actor = more.pop("actor", None) or make_actor(roles=["admin"], site=site)
    return training_run_request(
        actor=actor,
        snapshot_id=(more.pop("snapshot", None) or make_snapshot()).pk,
        plan=TrainingPlan(init="none"),
        reason="because",
        if_running=IfRunning.QUEUE,
        gate_plan_id=plan.pk if plan else None,
        idempotency_key=key,
    )


def test_a_run_freezes_the_hash_of_its_plan() -> None:
    plan = make_plan()
    run = asked(plan)
    assert (run.plan, run.plan_sha256, run.gate_report) == (plan, plan.sha256, "")
    told = AuditEvent.objects.get(action="training_run.created").detail
    assert told["plan_sha256"] == plan.sha256
    with pytest.raises(IntegrityError, match="plan_frozen"), transaction.atomic():
        TrainingRun.objects.filter(pk=run.pk).update(plan_sha256="")


def test_a_plan_of_another_site_is_not_there() -> None:
    with pytest.raises(FieldInvalid) as error:
        asked(make_plan(), site=make_site())
    assert list(error.value.errors or {}) == ["plan"]


def test_the_same_key_with_another_plan_is_another_request() -> None:
    first = make_plan()
    actor = make_actor(roles=["admin"], site=first.site)
    second = make_plan(first.locked_set, actor=actor)
    snapshot = make_snapshot()
    run = asked(first, actor=actor, snapshot=snapshot, key="once")
    assert asked(first, actor=actor, snapshot=snapshot, key="once") == run
    for other in (second, None):
        with pytest.raises(IdempotencyConflict), transaction.atomic():
            asked(other, actor=actor, snapshot=snapshot, key="once")


def test_the_fields_alone_can_be_checked_without_a_database() -> None:
    fields = gate_plan_parse(plan_raw(approvers=["", " jo "]))
    assert fields.approvers == ("jo",)
