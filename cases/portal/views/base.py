"""What all pages share: who may see them, errors as pages, nothing kept in a browser's cache."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

import structlog
from django.contrib.auth.views import redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import reverse
from django.views import View

from cases.access import Actor, Capability
from cases.errors import Overloaded, PermissionDenied, UserFacingError
from cases.portal.errors import user_facing
from cases.portal.session import actor_of, tell_session_ended

log = structlog.get_logger(__name__)


class PortalView(View):
    """A page for signed-in people with at least one of ``any_of``.

    Anonymous: to the sign-in page, and back afterwards. Without the role: 403. A
    ``UserFacingError`` from below becomes its error page, so another site's object and one that
    never was look the same.
    """

    any_of: ClassVar[tuple[Capability, ...]]
    # Of one's own account: open to everybody who is signed in, whatever the role.
    for_anybody: ClassVar[bool] = False
    actor: Actor

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        actor = actor_of(request)
        if actor is None:
            return _to_sign_in(request)
        self.actor = actor
        try:
            if not self.for_anybody and not any(actor.can(c) for c in self.any_of):
                raise PermissionDenied()
            response = super().dispatch(request, *args, **kwargs)
        except UserFacingError as error:
            response = user_facing(request, error)
            if error.retry_after is not None:
                response.headers["Retry-After"] = str(error.retry_after)
        except (OperationalError, InterfaceError) as error:
            log.warning("page_database", error=type(error.__cause__ or error).__name__)
            response = user_facing(request, Overloaded())
        # Patient data: a shared workstation must not show it after sign-out.
        response.headers.setdefault("Cache-Control", "no-store, private")
        return response

    def can(self, capability: Capability) -> bool:
        return self.actor.can(capability)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    tell_session_ended(request)
    if "HX-Request" in request.headers:
        # A fragment cannot show the sign-in form: load the page anew, which leads there.
        response = HttpResponse(status=204)
        response.headers["HX-Refresh"] = "true"
        return response
    if request.headers.get("Sec-Fetch-Dest") == "empty":
        # A script asked: a page it cannot show would look like an answer to it.
        return JsonResponse(
            {"code": "not_authenticated", "sign_in": reverse("sign-in")}, status=401
        )
    # A page to come back to must answer GET.
    back = request.get_full_path() if request.method in ("GET", "HEAD") else _referring(request)
    return redirect_to_login(back, reverse("sign-in"))


def _referring(request: HttpRequest) -> str:
    """The page of ours that a form was sent from; the first page where nobody says."""
    referrer = urlsplit(request.headers.get("Referer", ""))
    if referrer.netloc == request.get_host() and referrer.path.startswith("/"):
        return referrer.path
    return reverse("home")
