"""The switch that makes a site read first, and what readers changed after they saw the answer."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import FieldInvalid, StateConflict
from cases.portal.model_life import NO_REFUSAL, Refusal, refusal_of
from cases.portal.reader_first import DAYS, changes_view, stretches_of, typed_period
from cases.portal.views.base import PortalView
from cases.portal.views.model_life import typed_reason
from cases.reading_changes import changes_of
from cases.reports.reading_changes_csv import reading_changes_csv
from cases.selectors.reader_first import (
    cases_withheld_count,
    reader_first_history,
    reader_first_now,
)
from cases.selectors.reading_changes import read_places, readings_set_aside
from cases.services.reader_first import reader_first_switch

MANY = 10_000


class ReaderFirstView(PortalView):
    """Whether the site reads first, the switch, and when it did. `on` is 1 or 0 in the form."""

    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        on = request.POST.get("on") == "1"
        reason = typed_reason(request)
        try:
            reader_first_switch(actor=self.actor, on=on, reason=reason)
        except (StateConflict, FieldInvalid) as error:
            return self.page(request, refusal_of("switch", reason, error))
        if on:
            told = gettext(
                "Your site reads first from now on. Readings that are signed stay as they are."
            )
        else:
            told = gettext("Answers are shown from the start again.")
        messages.success(request, told)
        return redirect("reader-first")

    def page(self, request: HttpRequest, refusal: Refusal = NO_REFUSAL) -> HttpResponse:
        withheld = cases_withheld_count(actor=self.actor, most=MANY + 1)
        context = {
            "on": reader_first_now(site_id=self.actor.own_site),
            "stretches": stretches_of(reader_first_history(actor=self.actor)),
            "withheld": min(withheld, MANY),
            "withheld_more": withheld > MANY,
            "refusal": refusal,
        }
        return render(request, "reading/reader_first.html", context, status=refusal.status)


class ReadingChangesView(PortalView):
    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        context: dict[str, Any] = {
            "since": request.GET.get("since", "")[:40],
            "until": request.GET.get("until", "")[:40],
            "typed": "since" in request.GET,
            "days": DAYS,
            "query": request.GET.urlencode(),
            "problems": {},
        }
        try:
            since, until = typed_period(request)
        except FieldInvalid as error:
            context["problems"] = error.errors
            return render(request, "reading/reading_changes.html", context, status=422)
        places = read_places(actor=self.actor, since=since, until=until)
        context["changes"] = changes_view(changes_of(places))
        context["aside"] = readings_set_aside(actor=self.actor, since=since, until=until)
        return render(request, "reading/reading_changes.html", context)


class ReadingChangesCsvView(PortalView):
    """Each place that was read, one a line."""

    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponseBase:
        since, until = typed_period(request)
        # Asked once before the answer begins: whoever may not is told so, not sent half a file.
        readings_set_aside(actor=self.actor, since=since, until=until)
        lines = reading_changes_csv(read_places(actor=self.actor, since=since, until=until))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        name = f"readings-{timezone.localtime():%Y%m%d-%H%M}.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response
