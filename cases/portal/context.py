"""What every page's frame needs. Lazy: a page that shows no frame asks nobody, database included.

Error pages are drawn without the frame, so they stand when the database does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext

from cases.access import TOKEN_CAPABILITIES, Actor
from cases.portal.places import places_for
from cases.portal.session import actor_of
from cases.reports.answers import RESEARCH_NOTE
from cases.selectors.dead_letters import MAX_COUNT, dead_letter_count
from cases.selectors.serving import Suspension, suspension_now

# So long before an idle session ends its page asks whether somebody is there (WCAG 2.2.1: at
# least 20 seconds).
IDLE_WARNING_SECONDS = 120


@dataclass(frozen=True)
class NavItem:
    label: str
    url: str
    icon: str
    current: bool
    # How many things wait there; "" where none do.
    count: str = ""


@dataclass(frozen=True)
class Frame:
    """The rail and the top bar. Empty for the anonymous."""

    signed_in: bool = False
    nav: tuple[NavItem, ...] = ()
    site_name: str = ""
    user_name: str = ""
    # Stands for the user in what a window keeps: random, and told to nobody else.
    user_key: str = ""
    # How long the session lasts without anybody doing anything, and when it is warned of.
    idle_seconds: int = 0
    idle_warning: int = 0
    # Whether they can have access tokens of their own.
    tokens: bool = False
    # Told on every page: who waits for an answer must know why.
    suspension: Suspension | None = None


def frame_of(request: HttpRequest) -> Frame:
    actor = actor_of(request)
    if actor is None:
        return Frame()
    match = request.resolver_match
    here = match.url_name if match else None
    nav = tuple(
        NavItem(
            gettext(place.label),
            reverse(place.url_name),
            place.icon,
            here in place.pages,
            _waiting(actor) if place.url_name == "dead-letter-list" else "",
        )
        for place in places_for(actor)
    )
    site = getattr(request.user, "site", None)
    idle_seconds = 60 * settings.BCWEB_ACCOUNTS.idle_minutes
    return Frame(
        signed_in=True,
        nav=nav,
        site_name=site.name if site else gettext("No site"),
        user_name=actor.label,
        user_key=str(actor.user_id),
        idle_seconds=idle_seconds,
        idle_warning=min(IDLE_WARNING_SECONDS, idle_seconds // 2),
        tokens=any(actor.can(capability) for capability in TOKEN_CAPABILITIES),
        suspension=suspension_now(),
    )


def _waiting(actor: Actor) -> str:
    """How many failed images wait for somebody; an account without a site has none."""
    number = dead_letter_count(actor=actor) if actor.site_id is not None else 0
    if number > MAX_COUNT:
        return f"{MAX_COUNT}+"
    return str(number) if number else ""


def portal(request: HttpRequest) -> dict[str, Any]:
    """Context processor: ``portal`` (the frame, worked out when first used), ``research_note``."""
    return {
        "portal": SimpleLazyObject(lambda: frame_of(request)),
        "research_note": gettext(RESEARCH_NOTE),
    }
