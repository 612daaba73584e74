"""The audit trail of the site, for auditors and administrators."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from cases.access import Capability
from cases.portal.history import entries_of
from cases.portal.views.base import PortalView
from cases.portal.views.case import given_number
from cases.portal.wording import ACTIONS
from cases.selectors.portal import audit_page
from cases.selectors.seals import seal_state

PAGE_SIZE = 50
# Beat seals each minute; an event that has waited longer says that something stands still.
SEAL_OVERDUE = timedelta(minutes=10)


class AuditListView(PortalView):
    any_of = (Capability.VIEW_AUDIT,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        filters = {
            name: request.GET.get(name, "").strip()[:64].replace("\x00", "")
            for name in ("action", "object_id")
        }
        page = audit_page(
            actor=self.actor,
            size=PAGE_SIZE,
            older_than=given_number(request, "older_than"),
            newer_than=given_number(request, "newer_than"),
            **filters,
        )
        kept = urlencode({name: value for name, value in filters.items() if value})
        seals = seal_state(actor=self.actor)
        oldest = seals.oldest_unsealed_at
        context = {
            "page": page,
            "head": seals.head,
            "unsealed_since": oldest,
            "seal_overdue": oldest is not None and oldest < timezone.now() - SEAL_OVERDUE,
            "entries": entries_of(page.rows),
            "actions": sorted(ACTIONS),
            "action": filters["action"],
            "object_id": filters["object_id"],
            "filter_query": f"{kept}&" if kept else "",
            "filtered": bool(kept),
            "links_cases": self.can(Capability.VIEW_CASES),
        }
        return render(request, "audit/audit_list.html", context)
