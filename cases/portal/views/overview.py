"""Where administrators land: how the service does now, kept fresh without losing one's place."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import PermissionDenied
from cases.portal.overview import Part, parts_of, watch_told
from cases.portal.views.base import PortalView
from cases.portal.views.dead_letters import DeadLetterRetryView

POLL_SECONDS = 5


class _Overview(PortalView):
    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "options"]

    def parts(self) -> list[Part]:
        if self.actor.site_id is None:
            raise PermissionDenied(gettext("Your account belongs to no site."))
        return parts_of(self.actor)

    def context(self, parts: list[Part]) -> dict[str, Any]:
        seen = ".".join(part.seen for part in parts)
        return {
            "poll_url": f"{reverse('overview-live')}?{urlencode({'seen': seen})}",
            "poll_seconds": POLL_SECONDS,
        }


class OverviewView(_Overview):
    def get(self, request: HttpRequest) -> HttpResponse:
        parts = self.parts()
        context = self.context(parts) | {part.name: part.context for part in parts}
        return render(request, "overview/overview.html", context)


class OverviewLiveView(_Overview):
    """The parts that changed since the page or the last poll was drawn; 204 where none did."""

    def get(self, request: HttpRequest) -> HttpResponse:
        parts = self.parts()
        seen = request.GET.get("seen", "").split(".")
        changed = [part for part in parts if part.seen not in seen]
        if not changed:
            return HttpResponse(status=204)
        context = self.context(parts) | {part.name: part.context for part in changed}
        context |= {"names": [part.name for part in changed], "oob": True}
        return render(request, "overview/partials/live.html", context)


class OverviewWatchView(_Overview):
    """How the models do, apart: counting it may take longer than the page."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return render(request, "overview/partials/watch.html", {"watch": watch_told(self.actor)})


class OverviewRetryView(DeadLetterRetryView):
    """A failed image tried again from the overview, and back to it."""

    def after(self, request: HttpRequest) -> HttpResponse:
        return redirect("overview")
