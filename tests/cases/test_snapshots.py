"""Snapshots known to the service."""

from __future__ import annotations

import json

import pytest

from cases.access import SYSTEM
from cases.errors import NotFound, PermissionDenied
from cases.models import AuditEvent, TrainingSnapshot
from cases.selectors.snapshots import snapshot_document, snapshot_get, snapshot_list
from cases.services.schedules import images_new_in
from cases.services.snapshots import snapshot_register
from tests.factories import at_once, make_actor
from tests.training import document_of, make_snapshot


@pytest.mark.django_db
def test_a_snapshot_is_registered_once_with_its_document_and_its_trail() -> None:
    document = document_of()
    told = {"document": document, "content": json.dumps(document).encode(), "name": "a set"}
    made, is_new = snapshot_register(actor=SYSTEM, data_root="", **told)
    again, is_new_again = snapshot_register(actor=SYSTEM, data_root="", **told)
    assert (is_new, is_new_again, again.pk) == (True, False, made.pk)
    assert (made.images, made.classes) == (6, {"benign": 2, "malignant": 2, "normal": 2})
    assert made.sources == [{"source": "made", "images": 6, "licence": "ours"}]
    assert snapshot_document(made) == document
    event = AuditEvent.objects.get(object_id=made.pk)
    assert (event.action, event.detail) == (
        "snapshot.registered",
        {"images": 6, "pictures_known": False},
    )


@pytest.mark.django_db
def test_the_folder_of_the_pictures_may_be_told_later_and_move_but_is_never_forgotten() -> None:
    document = document_of()
    told = {"document": document, "content": b"{}", "name": "a set"}
    for root in ("", "/one", "/one", "/two", ""):
        made, _ = snapshot_register(actor=SYSTEM, data_root=root, **told)
    assert TrainingSnapshot.objects.get().data_root == "/two"
    actions = AuditEvent.objects.filter(object_id=made.pk).order_by("id")
    assert [e.action for e in actions] == [
        "snapshot.registered",
        "snapshot.moved",
        "snapshot.moved",
    ]
    assert "/two" not in str([e.detail for e in actions])


@pytest.mark.django_db(transaction=True)
def test_two_at_once_register_one() -> None:
    document = document_of()

    def register() -> bool:
        return snapshot_register(
            actor=SYSTEM, document=document, content=b"{}", name="x", data_root="/x"
        )[1]

    assert sorted(at_once(4, register)) == [False, False, False, True]


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_only_who_curates_registers_one(role: str) -> None:
    with pytest.raises(PermissionDenied):
        snapshot_register(
            actor=make_actor(roles=[role]),
            document=document_of(),
            content=b"{}",
            name="x",
            data_root="",
        )
    assert not TrainingSnapshot.objects.exists()


@pytest.mark.django_db
def test_new_pictures_are_counted_by_content() -> None:
    old, new = make_snapshot(6), make_snapshot(9, first=2)
    assert images_new_in(new, before=old) == 5  # 6 to 10; 2 to 5 were there
    assert images_new_in(new, before=None) == 9
    assert images_new_in(new, before=new) == 0


@pytest.mark.django_db
def test_snapshots_are_read_by_viewers_of_models_only() -> None:
    made = make_snapshot()
    assert list(snapshot_list(actor=make_actor(roles=["approver"]))) == [made]
    with pytest.raises(PermissionDenied):
        snapshot_list(actor=make_actor(roles=["auditor"]))
    with pytest.raises(NotFound):
        snapshot_get(actor=make_actor(roles=["admin"]), snapshot_id="f" * 64)
