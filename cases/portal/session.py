"""Who is asking: the signed-in person of a request as an `Actor`, worked out once."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext

from cases.access import Actor
from cases.errors import NotAuthenticated
from cases.models import User
from cases.services.people import actor_for_user


def actor_of(request: HttpRequest) -> Actor | None:
    """The actor of the signed-in person; None for the anonymous. Kept on the request."""
    known: Actor | None = getattr(request, "portal_actor", None)
    if known is not None:
        return known
    user = request.user
    if not isinstance(user, User) or not user.is_authenticated:
        return None
    actor = actor_for_user(user, request_id=str(getattr(request, "request_id", "")))
    request.portal_actor = actor  # type: ignore[attr-defined]
    return actor


def user_of(request: HttpRequest) -> User:
    """The signed-in person's own row. ``NotAuthenticated`` for the anonymous."""
    if not isinstance(request.user, User):
        raise NotAuthenticated()
    return request.user


def tell_session_ended(request: HttpRequest) -> None:
    """Say at the sign-in page why one is there again, where this request met an ended session.

    Another request of the page may have met it first: then the page's script says so (``ended``).
    """
    why = getattr(request, "session_ended", "")
    if not why and not request.user.is_authenticated and not len(messages.get_messages(request)):
        why = "idle" if request.GET.get("ended") == "idle" else ""
    if why == "idle":
        minutes = settings.BCWEB_ACCOUNTS.idle_minutes
        messages.info(
            request,
            gettext("You were signed out: nobody used the page for {minutes} minutes.").format(
                minutes=minutes
            ),
        )
    elif why == "age":
        hours = settings.BCWEB_SESSION_HOURS
        messages.info(
            request,
            gettext("You were signed out: a session ends after {hours} hours.").format(hours=hours),
        )
