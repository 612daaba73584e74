"""A person's saved views of the worklist."""

from __future__ import annotations

from uuid import UUID

from cases.access import Actor
from cases.errors import NotFound
from cases.models import SavedView


def saved_views(*, actor: Actor) -> list[SavedView]:
    """The actor's own views in the order in which they were made; a token has none."""
    if actor.user_id is None or actor.token_id is not None:
        return []
    return list(SavedView.objects.filter(user_id=actor.user_id).order_by("created_at", "id"))


def saved_view_of(views: list[SavedView], view_id: UUID) -> SavedView:
    """The view of this id among the actor's own. ``NotFound`` where it is not theirs."""
    for view in views:
        if view.pk == view_id:
            return view
    raise NotFound()
