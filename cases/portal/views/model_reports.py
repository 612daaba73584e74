"""Which model was live when, whom to recall, how a model does in shadow, and the switch."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_noop

from cases.access import Capability
from cases.errors import FieldInvalid, NotFound, StateConflict
from cases.models import ModelVersion
from cases.portal.model_life import NO_REFUSAL, SHADOW_WORDS, Refusal, recall_lines, refusal_of
from cases.portal.moments import typed_moment
from cases.portal.reads import STRETCH, note_listed
from cases.portal.views.base import PortalView
from cases.portal.views.model_life import typed_reason
from cases.reports.recall import recall_csv
from cases.selectors.learning import model_get
from cases.selectors.model_life import live_at, live_intervals
from cases.selectors.promotion import outlook
from cases.selectors.recall import (
    image_numbers,
    recall_counts,
    recall_results,
    recall_unanswered,
    recall_withheld,
)
from cases.selectors.serving import suspension_list, suspension_now
from cases.selectors.shadow import shadow_disagreements, shadow_summary
from cases.services.recall import recall_note
from cases.services.serving import serving_resume, serving_suspend
from cases.states import ModelState

SHOWN = 200


class ModelLiveView(PortalView):
    any_of = (Capability.VIEW_MODELS,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        typed = request.GET.get("at", "").strip()[:40]
        problem, at, found = "", None, None
        try:
            at = typed_moment(request, "at")
            if at is not None:
                found = live_at(actor=self.actor, at=at)
        except FieldInvalid as error:
            problem = " ".join((error.errors or {}).get("at", []))
        except NotFound:
            found = None
        context = {
            "typed": typed,
            "problem": problem,
            "at": at,
            "found": found,
            "intervals": live_intervals(actor=self.actor),
            "suspensions": suspension_list(actor=self.actor),
        }
        status = 422 if problem else 200
        return render(request, "learning/model_live.html", context, status=status)


class _Recall(PortalView):
    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def period(self, request: HttpRequest) -> tuple[datetime | None, datetime | None]:
        return typed_moment(request, "since"), typed_moment(request, "until")

    def noted(
        self,
        model: ModelVersion,
        since: datetime | None,
        until: datetime | None,
        *,
        exported: bool,
    ) -> tuple[Any, int, int]:
        """The results of the period, how many cases and results; in the audit trail."""
        results = recall_results(actor=self.actor, model=model, since=since, until=until)
        cases, count = recall_counts(results)
        recall_note(
            actor=self.actor,
            model=model,
            since=since,
            until=until,
            cases=cases,
            results=count,
            exported=exported,
        )
        return results, cases, count


class ModelRecallView(_Recall):
    def get(self, request: HttpRequest, model_id: UUID) -> HttpResponse:
        model = model_get(actor=self.actor, model_id=model_id)
        context: dict[str, Any] = {
            "model": model,
            "since": request.GET.get("since", "")[:40],
            "until": request.GET.get("until", "")[:40],
            "query": request.GET.urlencode(),
            "with_identity": self.can(Capability.VIEW_IDENTITY),
            "problems": {},
        }
        try:
            since, until = self.period(request)
        except FieldInvalid as error:
            context["problems"] = error.errors
            return render(request, "learning/model_recall.html", context, status=422)
        results, cases, count = self.noted(model, since, until, exported=False)
        shown = list(note_listed(self.actor, results[:SHOWN]))
        context |= {
            "lines": recall_lines(shown, image_numbers(shown)),
            "cases": cases,
            "count": count,
            "unanswered": recall_unanswered(results),
            "withheld": recall_withheld(actor=self.actor, model=model, since=since, until=until),
        }
        return render(request, "learning/model_recall.html", context)


class ModelRecallCsvView(_Recall):
    """The whole list, sent line by line: it may be as long as the archive."""

    def get(self, request: HttpRequest, model_id: UUID) -> HttpResponseBase:
        model = model_get(actor=self.actor, model_id=model_id)
        since, until = self.period(request)
        results, _, _ = self.noted(model, since, until, exported=True)
        lines = recall_csv(
            note_listed(self.actor, results.iterator(chunk_size=STRETCH)),
            model=model,
            with_identity=self.can(Capability.VIEW_IDENTITY),
        )
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        name = f"recall-{model.sha256[:12]}.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


class ModelShadowView(PortalView):
    """How far the model in shadow and the live one disagree, for who trains or promotes and
    reads no cases."""

    any_of = (Capability.TRAIN, Capability.PROMOTE)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, model_id: UUID) -> HttpResponse:
        model = model_get(actor=self.actor, model_id=model_id)
        context = {
            "model": model,
            "state_words": SHADOW_WORDS[ModelState(model.state)],
            "summary": shadow_summary(actor=self.actor, model=model),
            "disagreements": list(shadow_disagreements(actor=self.actor, model=model)[:SHOWN]),
            "links_cases": self.can(Capability.VIEW_CASES),
        }
        return render(request, "learning/model_shadow.html", context)


class ServingView(PortalView):
    """Whether images are answered, the switch, and its history."""

    any_of: ClassVar[tuple[Capability, ...]] = (Capability.VIEW_MODELS,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(request)

    def page(self, request: HttpRequest, refusal: Refusal = NO_REFUSAL) -> HttpResponse:
        context = {
            "suspension": suspension_now(),
            "history": suspension_list(actor=self.actor),
            "outlook": outlook(actor=self.actor),
            "may_switch": self.can(Capability.OPERATE) or self.can(Capability.PROMOTE),
            "refusal": refusal,
        }
        return render(request, "learning/serving.html", context, status=refusal.status)


class _ServingSwitch(ServingView):
    any_of = (Capability.OPERATE, Capability.PROMOTE)
    http_method_names = ["post", "options"]
    form: ClassVar[str]
    told: ClassVar[str]

    def post(self, request: HttpRequest) -> HttpResponse:
        reason = typed_reason(request)
        try:
            self.switch(reason)
        except (StateConflict, FieldInvalid) as error:
            return self.page(request, refusal_of(self.form, reason, error))
        messages.success(request, gettext(self.told))
        return redirect("serving")

    def switch(self, reason: str) -> None:
        raise NotImplementedError


class ServingSuspendView(_ServingSwitch):
    form = "suspend"
    told = gettext_noop("Suspended. Images are taken in and wait; resume below.")

    def switch(self, reason: str) -> None:
        serving_suspend(actor=self.actor, reason=reason)


class ServingResumeView(_ServingSwitch):
    form = "resume"
    told = gettext_noop("Resumed. What waited is being answered.")

    def switch(self, reason: str) -> None:
        serving_resume(actor=self.actor, reason=reason)
