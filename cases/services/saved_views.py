"""A person's own views of the worklist: made, renamed, deleted, one of them opened by itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from cases.access import Actor, Capability
from cases.errors import FieldInvalid, NotFound, StateConflict
from cases.models import SavedView
from cases.models.worklist import MAX_VIEW_NAME
from cases.services.audit import audit_record
from cases.services.locks import advisory_lock
from cases.services.persons import person_required
from cases.services.review import text_check
from cases.worklisting import WorklistFilters

MAX_VIEWS = 20


@transaction.atomic
def saved_view_create(*, actor: Actor, name: str, filters: WorklistFilters) -> SavedView:
    """A view of this name with these filters, for the actor alone.

    ``FieldInvalid`` for a name that is empty, too long or taken; ``StateConflict`` beyond
    ``MAX_VIEWS``; ``PermissionDenied`` without VIEW_CASES, or for anybody but a person.
    """
    person = _person(actor)
    told = _name(name)
    if SavedView.objects.filter(user_id=person).count() >= MAX_VIEWS:
        raise StateConflict(f"At most {MAX_VIEWS} views. Delete one that you no longer need.")
    _refuse_taken(person, told)
    view = SavedView.objects.create(user_id=person, name=told, filters=filters.as_words())
    _audit(actor, view, "saved_view.created", ["name", "filters"])
    return view


@transaction.atomic
def saved_view_rename(*, actor: Actor, view_id: UUID, name: str) -> SavedView:
    """The actor's own view gets another name. ``FieldInvalid``, ``NotFound``."""
    view = _own(actor, view_id)
    told = _name(name)
    if told != view.name:
        _refuse_taken(view.user_id, told, but=view.pk)
        view.name = told
        view.save(update_fields=["name"])
        _audit(actor, view, "saved_view.changed", ["name"])
    return view


@transaction.atomic
def saved_view_default(*, actor: Actor, view_id: UUID, is_default: bool) -> SavedView:
    """The view opens by itself from now on in place of any other of the actor's, or no longer.

    Twice is once. ``NotFound`` where it is not the actor's own.
    """
    view = _own(actor, view_id)
    if view.is_default != is_default:
        # The other one first: there is one at most at any moment.
        SavedView.objects.filter(user_id=view.user_id, is_default=True).update(is_default=False)
        view.is_default = is_default
        view.save(update_fields=["is_default"])
        _audit(actor, view, "saved_view.changed", ["is_default"])
    return view


@transaction.atomic
def saved_view_delete(*, actor: Actor, view_id: UUID) -> None:
    """The actor's own view is gone. ``NotFound`` where it is not theirs, or was deleted before."""
    view = _own(actor, view_id)
    _audit(actor, view, "saved_view.deleted", [])
    view.delete()


def _person(actor: Actor) -> UUID:
    """Whose views they are, their changes one after the other for the rest of the transaction."""
    person = person_required(actor, Capability.VIEW_CASES)
    advisory_lock("saved views", str(person), wait=True)
    return person


def _own(actor: Actor, view_id: UUID) -> SavedView:
    view = SavedView.objects.filter(user_id=_person(actor), pk=view_id).first()
    if view is None:
        raise NotFound()
    return view


def _name(name: str) -> str:
    told = " ".join(text_check(name, name="name", limit=MAX_VIEW_NAME).split())
    if not told:
        raise FieldInvalid(errors={"name": ["Give the view a name."]})
    return told


def _refuse_taken(person: UUID, name: str, *, but: UUID | None = None) -> None:
    taken = SavedView.objects.filter(user_id=person, name__iexact=name)
    if (taken.exclude(pk=but) if but else taken).exists():
        raise FieldInvalid(errors={"name": ["You have a view of this name already."]})


def _audit(actor: Actor, view: SavedView, action: str, changed: list[str]) -> None:
    # The name is a person's own words: it stays out of the trail.
    detail: dict[str, Any] = {"filters": sorted(view.filters)}
    audit_record(
        actor=actor,
        action=action,
        object_type="saved_view",
        object_id=view.pk,
        changed_fields=changed,
        detail=detail,
    )
