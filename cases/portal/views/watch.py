"""How the models at work do, for administrators: the page, and its figures as CSV."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone

from cases.access import Capability
from cases.errors import FieldInvalid
from cases.portal.views.base import PortalView
from cases.portal.watch import file_name, typed_filter, watch_view
from cases.reports.watch_csv import watch_csv
from cases.selectors.learning import model_list
from cases.selectors.watch import watch, watch_devices


class WatchView(PortalView):
    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        typed = {
            name: request.GET.get(name, "")[:140]
            for name in ("version", "device", "since", "until")
        }
        context: dict[str, Any] = {
            "typed": typed,
            "query": request.GET.urlencode(),
            "versions": [(str(m.pk), m.version) for m in model_list(actor=self.actor)[:200]],
            "devices": watch_devices(actor=self.actor),
            "problems": {},
        }
        try:
            wanted = typed_filter(request, self.actor)
        except FieldInvalid as error:
            context["problems"] = error.errors
            return render(request, "learning/watch.html", context, status=422)
        context |= watch_view(watch(actor=self.actor, wanted=wanted))
        return render(request, "learning/watch.html", context)


class WatchCsvView(PortalView):
    """The same figures, one a line."""

    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponseBase:
        told = watch(actor=self.actor, wanted=typed_filter(request, self.actor))
        response = StreamingHttpResponse(watch_csv(told), content_type="text/csv; charset=utf-8")
        name = file_name(timezone.localtime())
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response
