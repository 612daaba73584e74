"""Schedules of trainings: the list, one with its firings, adding, changing, switching."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import PermissionDenied, UserFacingError
from cases.portal.forms import FieldSpec
from cases.portal.schedule_forms import (
    firing_words,
    lineage_words,
    schedule_specs,
    timing_words,
    typed_of,
)
from cases.portal.training_forms import PlainForm, plain_form
from cases.portal.views.base import PortalView
from cases.portal.views.training import TrainingView
from cases.selectors.gates import gate_plan_list
from cases.selectors.schedules import editors_of, firings_of, schedule_get, schedule_list
from cases.selectors.snapshots import imported_names
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import (
    training_schedule_change,
    training_schedule_create,
    training_schedule_switch,
)

SHOWN = 100
FIRINGS = 50


def _typed(request: HttpRequest) -> dict[str, str]:
    return {name: str(value).replace("\x00", "") for name, value in request.POST.items()}


class _SchedulePage(PortalView):
    def specs(self) -> list[FieldSpec]:
        return schedule_specs(
            list(gate_plan_list(actor=self.actor)[:SHOWN]), imported_names(actor=self.actor)
        )


class ScheduleListView(TrainingView):
    def get(self, request: HttpRequest) -> HttpResponse:
        # With what the selector has added: the last firing.
        rows: Iterable[Any] = schedule_list(actor=self.actor)[:SHOWN]
        lines = [
            {
                "schedule": schedule,
                "timing": timing_words(schedule),
                "last": firing_words(schedule.last_outcome) if schedule.last_outcome else None,
            }
            for schedule in rows
        ]
        context = {"lines": lines, "can_train": self.can(Capability.TRAIN)}
        return render(request, "learning/schedule_list.html", context)


class ScheduleCreateView(_SchedulePage):
    any_of = (Capability.TRAIN,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(plain_form(self.specs()))

    def post(self, request: HttpRequest) -> HttpResponse:
        typed = _typed(request)
        try:
            made = training_schedule_create(actor=self.actor, fields=schedule_fields_parse(typed))
        except UserFacingError as error:
            return self.page(plain_form(self.specs(), typed, error=error), status=error.status)
        messages.success(request, gettext("The schedule is stored. It needs no restart."))
        return redirect("schedule-detail", schedule_id=made.pk)

    def page(self, form: PlainForm, *, status: int = 200) -> HttpResponse:
        return render(self.request, "learning/schedule_new.html", {"form": form}, status=status)


class ScheduleDetailView(_SchedulePage, TrainingView):
    """A schedule, what came of its firings, and for administrators the form to change it."""

    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest, schedule_id: UUID) -> HttpResponse:
        return self.page(schedule_id)

    def post(self, request: HttpRequest, schedule_id: UUID) -> HttpResponse:
        if not self.can(Capability.TRAIN):
            raise PermissionDenied()
        seen = schedule_get(actor=self.actor, schedule_id=schedule_id)
        typed = _typed(request)
        try:
            training_schedule_change(
                actor=self.actor, schedule_id=seen.pk, fields=schedule_fields_parse(typed)
            )
        except UserFacingError as error:
            form = plain_form(self.specs(), typed, error=error)
            return self.page(schedule_id, form, status=error.status)
        messages.success(request, gettext("The schedule is changed. It needs no restart."))
        return redirect("schedule-detail", schedule_id=seen.pk)

    def page(
        self, schedule_id: UUID, form: PlainForm | None = None, *, status: int = 200
    ) -> HttpResponse:
        schedule = schedule_get(actor=self.actor, schedule_id=schedule_id)
        context = {
            "schedule": schedule,
            "timing": timing_words(schedule),
            "lineage": lineage_words(schedule),
            "editors": editors_of(schedule),
            "firings": [
                {"firing": firing, "words": firing_words(firing.outcome)}
                for firing in firings_of(schedule, limit=FIRINGS)
            ],
            "can_train": self.can(Capability.TRAIN),
            "form": form or plain_form(self.specs(), typed_of(schedule)),
        }
        return render(self.request, "learning/schedule_detail.html", context, status=status)


class ScheduleSwitchView(PortalView):
    any_of = (Capability.TRAIN,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, schedule_id: UUID) -> HttpResponse:
        enabled = request.POST.get("enabled") == "on"
        training_schedule_switch(actor=self.actor, schedule_id=schedule_id, enabled=enabled)
        messages.success(
            request,
            gettext("The schedule is switched on.")
            if enabled
            else gettext("The schedule is switched off."),
        )
        return redirect("schedule-detail", schedule_id=schedule_id)
