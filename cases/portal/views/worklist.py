"""The worklist, and the fragment that keeps its visible rows fresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from cases.access import Capability
from cases.errors import NotFound
from cases.portal.reads import note_scores
from cases.portal.views.base import PortalView
from cases.portal.worklist import Row, fingerprint, rows_of
from cases.selectors.portal import MAX_NEWER, case_page, case_span, newer_count
from cases.services.audit import audit_record

PAGE_SIZE = 30
POLL_SECONDS = 3
# With nothing under way only arrivals can change the page.
IDLE_POLL_SECONDS = 20


def given_id(request: HttpRequest, name: str) -> UUID | None:
    """An id in the query; ``NotFound`` where it is not one."""
    value = request.GET.get(name, "")
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise NotFound() from None


class _Rows(PortalView):
    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def context(self, rows: Sequence[Row], *, newer: int, on_top: bool) -> dict[str, Any]:
        query = {"on_top": int(on_top), "seen": fingerprint(rows, newer)}
        if rows:
            query |= {"first": str(rows[0].case_id), "last": str(rows[-1].case_id)}
        unfinished = any(not row.is_final for row in rows)
        return {
            "rows": rows,
            "with_identity": self.can(Capability.VIEW_IDENTITY),
            "can_submit": self.can(Capability.SUBMIT),
            "newer": newer,
            "newer_more": newer > MAX_NEWER,
            "poll_url": f"{reverse('worklist-rows')}?{urlencode(query)}",
            "poll_seconds": POLL_SECONDS if unfinished else IDLE_POLL_SECONDS,
            # A page further down changes only while something on it is unfinished.
            "poll": unfinished or on_top,
        }


class WorklistView(_Rows):
    """A page of the list. Looking at it is audited; the fragments that follow are not."""

    def get(self, request: HttpRequest) -> HttpResponse:
        older_than, newer_than = given_id(request, "older_than"), given_id(request, "newer_than")
        page = case_page(
            actor=self.actor, size=PAGE_SIZE, older_than=older_than, newer_than=newer_than
        )
        rows = rows_of(page.rows, with_identity=self.can(Capability.VIEW_IDENTITY))
        note_scores(self.actor, page.rows)
        audit_record(
            actor=self.actor,
            action="case.listed",
            object_type="case",
            detail={"cases": len(rows)},
        )
        context = self.context(rows, newer=0, on_top=not page.has_newer)
        return render(request, "cases/worklist.html", {**context, "page": page})


class WorklistRowsView(_Rows):
    """What the page shows, again; 204 where nothing changed. A poll is no view: no audit."""

    def get(self, request: HttpRequest) -> HttpResponse:
        first, last = given_id(request, "first"), given_id(request, "last")
        on_top = request.GET.get("on_top") == "1"
        cases = (
            case_span(actor=self.actor, first=first, last=last, size=PAGE_SIZE)
            if first and last
            else []
        )
        newer = newer_count(actor=self.actor, than=first) if on_top else 0
        rows = rows_of(cases, with_identity=self.can(Capability.VIEW_IDENTITY))
        if fingerprint(rows, newer) == request.GET.get("seen"):
            return HttpResponse(status=204)
        note_scores(self.actor, cases)
        context = self.context(rows, newer=newer, on_top=on_top)
        return render(request, "cases/partials/worklist_rows.html", context)
