"""Who may call what: the needed capabilities stand in each view as data.

    required = {"GET": any_of(Capability.VIEW_CASES), "POST": any_of(Capability.SUBMIT)}

The services and selectors check again, and scope everything by site: this is the first gate, not
the only one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from cases.access import Capability
from cases.api.authentication import actor_of

if TYPE_CHECKING:
    # The settings name this module, so rest_framework.views imports it while it loads.
    from rest_framework.views import APIView

Capabilities = frozenset[Capability]


def any_of(*capabilities: Capability) -> Capabilities:
    """One of these is enough."""
    return frozenset(capabilities)


def capabilities_required(view: APIView, method: str) -> Capabilities | None:
    """What ``view`` asks for ``method``; None where it says nothing. HEAD is a GET."""
    required: dict[str, Capabilities] = getattr(view, "required", {})
    return required.get("GET" if method == "HEAD" else method)


class IsSignedIn(BasePermission):
    """Any signed-in person or live token."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return actor_of(request) is not None


class HasCapability(BasePermission):
    """The capabilities the view declares. A method it has but does not declare is refused."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        actor = actor_of(request)
        if actor is None:
            return False
        needed = capabilities_required(view, request.method or "")
        if needed is None:
            # A method the view does not have at all: let it answer 405.
            return request.method not in view.allowed_methods
        return any(actor.can(capability) for capability in needed)
