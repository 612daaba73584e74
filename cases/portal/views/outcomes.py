"""Naming findings and saying what they turned out to be, from the case page."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import FieldInvalid, NotFound, StateConflict, UserFacingError
from cases.models import Case
from cases.portal.outcomes import form_choices, typed_form
from cases.portal.readings import title_of
from cases.portal.views.base import PortalView
from cases.selectors.cases import case_get
from cases.selectors.outcomes import finding_get
from cases.services.consent import patient_research_set
from cases.services.findings import finding_add, finding_fields_parse
from cases.services.outcomes import outcome_content_parse, outcome_record


def case_url(case_id: UUID, anchor: str) -> str:
    return f"{reverse('case-detail', args=[case_id])}#{anchor}"


def refused(
    request: HttpRequest, case: Case, error: UserFacingError, *, title: str, form: str, **more: Any
) -> HttpResponse:
    """The form again on a page of its own, with what was typed and what is wrong."""
    context = {"case": case, "title": title, "error": error, "form_template": form, **more}
    context |= form_choices(case)
    return render(request, "cases/review_refused.html", context, status=error.status)


class OutcomeRecordView(PortalView):
    any_of = (Capability.RECORD_OUTCOMES,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, finding_id: UUID) -> HttpResponse:
        finding = finding_get(actor=self.actor, finding_id=finding_id)
        try:
            content = outcome_content_parse(request.POST)
            _, created = outcome_record(actor=self.actor, finding_id=finding.pk, content=content)
        except (FieldInvalid, StateConflict) as error:
            return refused(
                request,
                case_get(actor=self.actor, case_id=finding.case_id),
                error,
                title=gettext("Outcome of {finding}").format(finding=title_of(finding)),
                form="cases/partials/outcome_form.html",
                finding=finding,
                superseding=isinstance(error, StateConflict) or bool(request.POST.get("reason")),
                outcome_form=typed_form(request.POST, error),
                prefix="outcome",
            )
        told = (
            gettext("Outcome recorded.")
            if created
            else gettext("This outcome was recorded before.")
        )
        messages.success(request, told)
        return redirect(case_url(finding.case_id, "outcomes"))


class FindingAddView(PortalView):
    any_of = (Capability.READ_CASES,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        try:
            images = [UUID(value) for value in request.POST.getlist("images")]
        except ValueError:
            raise NotFound() from None
        try:
            fields = finding_fields_parse(request.POST)
            finding_add(actor=self.actor, case_id=case.pk, fields=fields, image_ids=images)
        except (FieldInvalid, StateConflict) as error:
            typed = {**request.POST.dict(), "images": request.POST.getlist("images")}
            return refused(
                request,
                case,
                error,
                title=gettext("A finding of the case"),
                form="cases/partials/finding_form.html",
                finding_form=typed_form(typed, error),
                prefix="finding",
            )
        messages.success(
            request, gettext("Finding added. It can be read and given an outcome now.")
        )
        return redirect(case_url(case.pk, "outcomes"))


class ResearchOptOutView(PortalView):
    """Note the patient's wish; `opted_out` is 1 or 0."""

    any_of = (Capability.SUBMIT,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        opted_out = request.POST.get("opted_out") == "1"
        patient_research_set(
            actor=self.actor, patient_id=case.patient_id, opted_out=opted_out, case_id=case.pk
        )
        if opted_out:
            told = gettext("Noted: the patient's images are in no training data made from now on.")
        else:
            told = gettext("Noted: the patient's images may be in training data again.")
        messages.success(request, told)
        return redirect(case_url(case.pk, "record"))
