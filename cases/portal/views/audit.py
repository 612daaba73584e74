"""The audit trail of the site, for auditors and administrators: the page, and what fits as CSV."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone

from cases.access import Capability
from cases.errors import FieldInvalid
from cases.portal.action_words import ACTIONS, object_words
from cases.portal.audit import (
    SEAL_OVERDUE,
    action_choices,
    audit_csv,
    object_url,
    typed_fields,
    typed_filter,
)
from cases.portal.history import entries_of
from cases.portal.views.base import PortalView
from cases.portal.views.case import given_number
from cases.selectors.audit_search import AuditFilter, audit_search, audit_walk
from cases.selectors.seals import seal_state
from cases.services.audit import audit_record

PAGE_SIZE = 50


class AuditListView(PortalView):
    any_of = (Capability.VIEW_AUDIT,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        typed = typed_fields(request)
        kept = urlencode({name: value for name, value in typed.items() if value})
        seals = seal_state(actor=self.actor)
        oldest = seals.oldest_unsealed_at
        context: dict[str, Any] = {
            "typed": typed,
            "head": seals.head,
            "unsealed_since": oldest,
            "seal_overdue": oldest is not None and oldest < timezone.now() - SEAL_OVERDUE,
            "actions": action_choices(typed["action"]),
            "filter_query": f"{kept}&" if kept else "",
            "filtered": bool(kept),
            "problems": {},
        }
        try:
            wanted = typed_filter(request)
        except FieldInvalid as error:
            context["problems"] = error.errors
            return render(request, "audit/audit_list.html", context, status=error.status)
        context |= self.found(request, wanted)
        return render(request, "audit/audit_list.html", context)

    def found(self, request: HttpRequest, wanted: AuditFilter) -> dict[str, Any]:
        page = audit_search(
            actor=self.actor,
            wanted=wanted,
            size=PAGE_SIZE,
            older_than=given_number(request, "older_than"),
            newer_than=given_number(request, "newer_than"),
        )
        return {
            "page": page,
            "lines": [
                {
                    "entry": entry,
                    "event": entry.event,
                    "kind": object_words(entry.event.object_type),
                    "url": object_url(entry.event, self.actor),
                }
                for entry in entries_of(page.rows)
            ],
        }


class AuditExportView(PortalView):
    """All that fits as CSV, streamed. That somebody took it is an event too, with which filter."""

    any_of = (Capability.VIEW_AUDIT,)
    http_method_names = ["get", "options"]

    def get(self, request: HttpRequest) -> HttpResponseBase:
        wanted = typed_filter(request)
        # What somebody typed may be anything; what stands here are ids, times and known names.
        told = {
            "filters": wanted.names,
            "action": wanted.action if wanted.action in ACTIONS else "",
        }
        taken = audit_record(
            actor=self.actor,
            action="audit.exported",
            object_type="audit",
            detail={
                **told,
                **{n: str(getattr(wanted, n) or "") for n in ("case", "since", "until")},
            },
        )
        lines = audit_csv(audit_walk(actor=self.actor, wanted=wanted, before=taken.pk))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        name = f"audit-{timezone.localtime():%Y%m%d-%H%M}.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response
