"""Two models side by side: by the gate that judged them together, or by their cards."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from cases.access import Capability
from cases.errors import NotFound
from cases.models import ModelVersion
from cases.portal.gates import METRICS, changed_answers
from cases.portal.model_life import verdict_of
from cases.portal.views.base import PortalView
from cases.reports.card.compare import cards_compared
from cases.reports.comparison import (
    PLOT_NAMES,
    confusion_blocks,
    drawing,
    figure_blocks,
    is_whole,
    model_names,
    plots,
)
from cases.selectors.gates import gate_report, judged_beside
from cases.selectors.learning import model_get, model_list
from cases.services.locked_pictures import locked_picture, locked_pictures_within_reach

CHANGED_A_PAGE = 40
MODELS_SHOWN = 200
SEES_COMPARISON = (Capability.CURATE, Capability.TRAIN, Capability.PROMOTE)


class ModelCompareView(PortalView):
    """A model beside the one that was live when it was judged: figures, curves, changed answers."""

    any_of = SEES_COMPARISON
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, model_id: UUID) -> HttpResponse:
        model = model_get(actor=self.actor, model_id=model_id)
        report = gate_report(actor=self.actor, model=model)
        changed = changed_answers(report)
        page = Paginator(changed, CHANGED_A_PAGE).get_page(request.GET.get("page"))
        shown = locked_pictures_within_reach(
            actor=self.actor, model=model, sha256s=[row.sha256 for row in page]
        )
        names = model_names(report)
        context = {
            "model": model,
            "verdict": verdict_of(self.actor, model),
            "report": report,
            "is_whole": is_whole(report),
            "names": names,
            "figures": figure_blocks(report, METRICS),
            "confusions": confusion_blocks(report),
            "plots": plots(report),
            "page": page,
            "rows": [{"answer": row, "pictured": row.sha256 in shown} for row in page],
            "with_sources": any(row.source for row in page),
            "none_pictured": not shown,
        }
        return render(request, "learning/model_compare.html", context)


class ModelCompareFigureView(PortalView):
    """A curve of the gate's report, as the gate drew it."""

    any_of = SEES_COMPARISON
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, model_id: UUID, name: str) -> HttpResponse:
        model = model_get(actor=self.actor, model_id=model_id)
        svg = drawing(gate_report(actor=self.actor, model=model), name)
        if name not in PLOT_NAMES or svg is None:
            raise NotFound()
        response = HttpResponse(svg, content_type="image/svg+xml; charset=utf-8")
        # The drawing has styles inside; it may have nothing else, wherever it is opened.
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
        )
        return response


class LockedPictureView(PortalView):
    """A picture of the locked set a model was judged on, small and without its name."""

    any_of = SEES_COMPARISON
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, model_id: UUID, sha256: str) -> HttpResponse:
        model = model_get(actor=self.actor, model_id=model_id)
        png = locked_picture(actor=self.actor, model=model, sha256=sha256)
        return HttpResponse(png, content_type="image/png")


class CardsCompareView(PortalView):
    """Any two models by the figures of their cards, for all who may read cards."""

    any_of = (Capability.VIEW_MODELS,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        models = list(model_list(actor=self.actor)[:MODELS_SHOWN])
        first, second = (self.chosen(request, name) for name in ("first", "second"))
        both = first is not None and second is not None
        context: dict[str, Any] = {
            "models": models,
            "first": first,
            "second": second,
            "same": both and first == second,
            "compared": None,
            "judged": None,
        }
        if first is not None and second is not None and first != second:
            context["compared"] = cards_compared(
                (first.version, first.card), (second.version, second.card)
            )
            context["judged"] = judged_beside(actor=self.actor, one=first, other=second)
        return render(request, "learning/model_cards_compare.html", context)

    def chosen(self, request: HttpRequest, name: str) -> ModelVersion | None:
        """The model that was chosen; None where none was. ``NotFound`` for what is none."""
        typed = request.GET.get(name, "").strip()
        if not typed:
            return None
        try:
            model_id = UUID(typed)
        except ValueError as error:
            raise NotFound() from error
        return model_get(actor=self.actor, model_id=model_id)
