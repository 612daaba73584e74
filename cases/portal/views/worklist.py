"""The worklist, the fragment that keeps its visible rows fresh, and the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from cases.access import Capability
from cases.errors import FieldInvalid, NotFound
from cases.models import SavedView, WorklistEntry
from cases.portal.ai_view import ai_offered, ai_view
from cases.portal.reads import note_scores
from cases.portal.views.base import PortalView
from cases.portal.worklist import Row, cases_of, fingerprint, rows_of
from cases.portal.worklist_filters import (
    FIELDS,
    ORDERS,
    filter_fields,
    filter_words,
    query_of,
)
from cases.reports.answers import CaseSummary, case_summaries
from cases.selectors.portal import MAX_NEWER
from cases.selectors.saved_views import saved_view_of, saved_views
from cases.selectors.worklist import (
    Cursor,
    arrived_count,
    newest_number,
    worklist_page,
    worklist_rows,
)
from cases.selectors.worklist_search import MAX_FOUND, case_search
from cases.services.audit import audit_record
from cases.services.worklist import worklist_fold
from cases.words import within
from cases.worklisting import WorklistFilters, worklist_filters_parse

PAGE_SIZE = 30
POLL_SECONDS = 3
# With nothing under way only arrivals and readers can change the page.
IDLE_POLL_SECONDS = 20
# Searches of a session that can be gone back to, and where it keeps them.
MOST_SEARCHES = 3
FOUND = "worklist_found"
ALL = "all"


def given_id(request: HttpRequest, name: str) -> UUID | None:
    """An id in the query; ``NotFound`` where it is not one."""
    value = request.GET.get(name, "")
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise NotFound() from None


@dataclass(frozen=True)
class Asked:
    """Which list somebody asks for: its filters, the view or search they come from."""

    filters: WorklistFilters
    view: SavedView | None = None
    # Ids of the cases that a search found; None: no search.
    found: tuple[UUID, ...] | None = None
    found_key: str = ""
    # The filters ask for what the person is not told; they were left out.
    of_the_model: bool = False

    @property
    def query(self) -> str:
        """The list's own address, without a place in it."""
        if self.view is not None:
            return urlencode({"view": str(self.view.pk)})
        if not self.filters.as_words() and not self.found_key:
            # Not the default view, where there is one.
            return urlencode({"view": ALL})
        return query_of(self.filters, found=self.found_key)


def typed_filters(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query.get(name, "").replace("\x00", "")[:40] for name in FIELDS}


class WorklistBase(PortalView):
    any_of: ClassVar[tuple[Capability, ...]] = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def asked(self, request: HttpRequest, views: list[SavedView]) -> Asked:
        """What the address asks for. ``FieldInvalid`` for filters that are none."""
        view = self.view_of(request, views)
        raw = view.filters if view is not None else typed_filters(request.GET)
        filters = worklist_filters_parse(raw)
        of_the_model = filters.of_the_model and not ai_offered(actor=self.actor)
        found, key = self.found(request)
        return Asked(
            filters=filters.without_the_model() if of_the_model else filters,
            view=view,
            found=found,
            found_key=key,
            of_the_model=of_the_model,
        )

    def view_of(self, request: HttpRequest, views: list[SavedView]) -> SavedView | None:
        if request.GET.get("view") == ALL:
            return None
        view_id = given_id(request, "view")
        if view_id is not None:
            return saved_view_of(views, view_id)
        if any(request.GET.get(name) for name in (*FIELDS, "found")):
            return None
        return next((view for view in views if view.is_default), None)

    def found(self, request: HttpRequest) -> tuple[tuple[UUID, ...] | None, str]:
        """What a search of this session found; nothing where it is too long ago."""
        key = request.GET.get("found", "")
        if not key:
            return None, ""
        kept = request.session.get(FOUND, {}).get(key)
        if kept is None:
            return None, ""
        return tuple(UUID(case_id) for case_id in kept), key

    def live(
        self, asked: Asked, rows: Sequence[Row], *, newer: int, number: int, on_top: bool
    ) -> dict[str, Any]:
        """What page and fragment share."""
        query = {
            "ids": "".join(row.case_id.hex for row in rows),
            "number": str(number),
            "on_top": str(int(on_top)),
            "seen": fingerprint(rows, newer),
        }
        unfinished = any(not row.is_final for row in rows)
        return {
            "rows": rows,
            "with_identity": self.can(Capability.VIEW_IDENTITY),
            "can_submit": self.can(Capability.SUBMIT),
            "can_act": self.can(Capability.SUBMIT) or self.can(Capability.OPERATE),
            "ai_offered": ai_offered(actor=self.actor),
            "order_words": within(ORDERS[asked.filters.order]),
            "narrow": asked.filters.narrow or asked.found is not None,
            "newer": newer,
            "newer_more": newer > MAX_NEWER,
            "list_query": asked.query,
            "poll_url": f"{reverse('worklist-rows')}?{asked.query}&{urlencode(query)}",
            "poll_seconds": POLL_SECONDS if unfinished else IDLE_POLL_SECONDS,
        }

    def rows(self, entries: Sequence[WorklistEntry]) -> tuple[list[Row], list[CaseSummary]]:
        """Rows of the entries, and the summaries whose scores they tell: a score in a list is seen,
        like one on a page, and has to be noted where it is shown."""
        cases = cases_of(entries)
        ai = ai_view(actor=self.actor, cases=cases)
        summaries = case_summaries(cases)
        rows = rows_of(entries, summaries, actor=self.actor, ai=ai)
        return rows, [summary for summary in summaries if ai.tells(summary.case.pk)]


class WorklistView(WorklistBase):
    """A page of the list. Looking at it is audited; the fragments that follow are not."""

    def get(self, request: HttpRequest) -> HttpResponse:
        views = saved_views(actor=self.actor)
        try:
            asked = self.asked(request, views)
        except FieldInvalid as error:
            return self.refused(request, views, error)
        worklist_fold()
        number = newest_number(actor=self.actor)
        page = worklist_page(
            actor=self.actor,
            filters=asked.filters,
            size=PAGE_SIZE,
            after=request.GET.get("after", ""),
            before=request.GET.get("before", ""),
            # One more was kept, to know that there are more.
            among=None if asked.found is None else asked.found[:MAX_FOUND],
        )
        rows, told = self.rows(page.rows)
        note_scores(self.actor, told)
        audit_record(
            actor=self.actor,
            action="case.listed",
            object_type="case",
            detail={"cases": len(rows)},
        )
        context = self.live(asked, rows, newer=0, number=number, on_top=not page.has_newer)
        if page.rows:
            first, last = (Cursor.of(page.rows[n], asked.filters.order) for n in (0, -1))
            context |= {"before": first.encode(), "after": last.encode()}
        context |= self.frame(views, typed=asked.filters.as_words(), view=asked.view)
        context |= {
            "page": page,
            "words": filter_words(asked.filters),
            "found": None if asked.found is None else len(asked.found),
            "found_more": len(asked.found or ()) > MAX_FOUND,
            "found_most": MAX_FOUND,
            "search_gone": bool(request.GET.get("found")) and asked.found is None,
            "of_the_model": asked.of_the_model,
        }
        return render(request, "cases/worklist.html", context)

    def frame(
        self,
        views: list[SavedView],
        *,
        typed: Mapping[str, str],
        view: SavedView | None = None,
        errors: Mapping[str, list[str]] | None = None,
    ) -> dict[str, Any]:
        """What stands around the rows, of whatever list."""
        return {
            "views": views,
            "view": view,
            "with_identity": self.can(Capability.VIEW_IDENTITY),
            "fields": filter_fields(
                typed, actor=self.actor, ai_offered=ai_offered(actor=self.actor), errors=errors
            ),
            "since": typed.get("since", ""),
            "until": typed.get("until", ""),
            "problems": errors or {},
        }

    def refused(
        self, request: HttpRequest, views: list[SavedView], error: FieldInvalid
    ) -> HttpResponse:
        context = self.frame(views, typed=typed_filters(request.GET), errors=error.errors)
        context |= {"rows": [], "refused": True, "can_submit": self.can(Capability.SUBMIT)}
        return render(request, "cases/worklist.html", context, status=error.status)


class WorklistRowsView(WorklistBase):
    """The rows the page shows, again; 204 where nothing changed. A poll is no view: no audit.

    They stay where they are, also where a filter would leave them out by now: rows that jump are
    clicked by mistake. What came meanwhile is told in a number.
    """

    def get(self, request: HttpRequest) -> HttpResponse:
        case_ids = ids_of(request.GET.get("ids", ""))
        try:
            views = saved_views(actor=self.actor) if request.GET.get("view") else []
            asked = self.asked(request, views)
        except FieldInvalid:
            raise NotFound() from None
        worklist_fold()
        entries = worklist_rows(actor=self.actor, case_ids=case_ids)
        if len(entries) != len(case_ids):
            raise NotFound()
        on_top = request.GET.get("on_top") == "1"
        number = number_of(request.GET.get("number", ""))
        newer = 0
        # A search stands for what it found; and a later page says nothing of the first one.
        if on_top and asked.found is None:
            newer = arrived_count(actor=self.actor, filters=asked.filters, since=number)
        rows, told = self.rows(entries)
        if fingerprint(rows, newer) == request.GET.get("seen"):
            return HttpResponse(status=204)
        note_scores(self.actor, told)
        context = self.live(asked, rows, newer=newer, number=number, on_top=on_top)
        return render(request, "cases/partials/worklist_rows.html", context)


def ids_of(text: str) -> list[UUID]:
    """Ids written one after the other, 32 digits each. ``NotFound`` where they are none."""
    parts = [text[at : at + 32] for at in range(0, min(len(text), 32 * (PAGE_SIZE + 1)), 32)]
    try:
        return list(dict.fromkeys(UUID(hex=part) for part in parts))
    except ValueError:
        raise NotFound() from None


def number_of(text: str) -> int:
    """A number of the list, 0 where none is told; ``NotFound`` where it is none."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotFound()
    return int(text)


class WorklistSearchView(WorklistBase):
    """Search by what names a case or its patient. By POST: it stands in no address and no log.

    What was typed is kept nowhere; the session keeps the ids of the cases found, so that one can
    come back to the list from a case.
    """

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            found = case_search(actor=self.actor, text=request.POST.get("q", ""))
        except FieldInvalid as error:
            page = WorklistView()
            page.setup(request)
            page.actor = self.actor
            return page.refused(request, saved_views(actor=self.actor), error)
        key = uuid4().hex
        kept = {**request.session.get(FOUND, {}), key: [case_id.hex for case_id in found]}
        request.session[FOUND] = dict(list(kept.items())[-MOST_SEARCHES:])
        audit_record(
            actor=self.actor,
            action="case.searched",
            object_type="case",
            detail={"cases": len(found)},
        )
        return redirect(f"{reverse('worklist')}?{urlencode({'order': 'newest', 'found': key})}")
