"""Model versions and their cards."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from cases.access import Capability
from cases.portal.model_life import NO_REFUSAL, Refusal, life_of, request_row
from cases.portal.views.base import PortalView
from cases.portal.wording import MODEL_STATE_LABELS, MODEL_STATES
from cases.reports.card import card_view
from cases.selectors.learning import model_get, model_list
from cases.selectors.promotion import promotions_open


class ModelListView(PortalView):
    any_of = (Capability.VIEW_MODELS,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        models = [
            {
                "model": model,
                "card": card_view(model.card),
                "state": MODEL_STATES[model.state],
                "state_label": MODEL_STATE_LABELS[model.state],
            }
            for model in model_list(actor=self.actor)[:200]
        ]
        context = {
            "models": models,
            "see_watch": self.can(Capability.OPERATE),
            "may_switch": self.can(Capability.OPERATE) or self.can(Capability.PROMOTE),
            "open_requests": [request_row(r) for r in promotions_open(actor=self.actor)],
        }
        return render(request, "learning/model_list.html", context)


class ModelDetailView(PortalView):
    any_of: ClassVar[tuple[Capability, ...]] = (Capability.VIEW_MODELS,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, model_id: UUID) -> HttpResponse:
        return self.page(request, model_id)

    def page(
        self, request: HttpRequest, model_id: UUID, refusal: Refusal = NO_REFUSAL
    ) -> HttpResponse:
        """The model with its life and card; with what was ``refused`` where that led here."""
        model = model_get(actor=self.actor, model_id=model_id)
        context = {
            "life": life_of(self.actor, model, refusal),
            "refusal": refusal,
            "model": model,
            "card": card_view(model.card),
            "state": MODEL_STATES[model.state],
            "state_label": MODEL_STATE_LABELS[model.state],
        }
        return render(request, "learning/model_detail.html", context, status=refusal.status)
