"""Moving a case to the right patient, and erasing a patient's data: pages that say what will
happen, ask why, and only then do it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from cases.access import Capability
from cases.errors import (
    AccessionConflict,
    DuplicateOfOtherPatient,
    FieldInvalid,
    IdentityMismatch,
    StateConflict,
    UserFacingError,
)
from cases.models import Case
from cases.portal.outcomes import typed_form
from cases.portal.views.base import PortalView
from cases.portal.views.outcomes import case_url
from cases.portal.wording import SEX, count_of
from cases.selectors.cases import case_get
from cases.services.corrections import case_patient_correct
from cases.services.erasure import erasure_plan, patient_erase
from cases.services.fields import submission_fields_parse

_PATIENT = ("patient_id", "patient_issuer", "patient_name", "birth_date", "sex")
_REFUSALS = (
    FieldInvalid,
    IdentityMismatch,
    AccessionConflict,
    DuplicateOfOtherPatient,
    StateConflict,
)


class PatientCorrectView(PortalView):
    """For radiologists: they see who the patient is, and read the case."""

    any_of = (Capability.READ_CASES,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        return self.page(request, case_get(actor=self.actor, case_id=case_id))

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        try:
            fields = submission_fields_parse({name: request.POST.get(name) for name in _PATIENT})
            reason = request.POST.get("reason", "")
            case_patient_correct(actor=self.actor, case_id=case.pk, fields=fields, reason=reason)
        except _REFUSALS as error:
            return self.page(request, case, error)
        messages.success(
            request, gettext("The case was moved. The old record is linked in its history.")
        )
        return redirect(case_url(case.pk, "record"))

    def page(
        self, request: HttpRequest, case: Case, error: UserFacingError | None = None
    ) -> HttpResponse:
        context = {
            "case": case,
            "patient": case.patient,
            "images": count_of(len(case.images.all()), "image"),
            "sexes": [(sex.value, words) for sex, words in SEX.items()],
            "error": error,
            "form": typed_form(request.POST, error),
        }
        status = error.status if error else 200
        return render(request, "cases/patient_correct.html", context, status=status)


class PatientEraseView(PortalView):
    """For administrators, who see no identity here either: a case names the patient."""

    any_of = (Capability.ERASE,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        return self.page(request, case_id)

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        try:
            erasure = patient_erase(
                actor=self.actor,
                case_id=case_id,
                reason=request.POST.get("reason", ""),
                token=request.POST.get("token", ""),
            )
        except (FieldInvalid, StateConflict) as error:
            return self.page(request, case_id, error)
        erasure.refresh_from_db()
        told = ngettext(
            "Erased {day}: {number} image deleted.",
            "Erased {day}: {number} images deleted.",
            erasure.counts["images"],
        )
        day = date_format(erasure.at, "j M Y")
        messages.success(request, told.format(day=day, number=erasure.counts["images"]))
        return redirect(case_url(case_id, "main"))

    def page(
        self, request: HttpRequest, case_id: UUID, error: UserFacingError | None = None
    ) -> HttpResponse:
        plan = erasure_plan(actor=self.actor, case_id=case_id)
        context = {
            "case": case_get(actor=self.actor, case_id=case_id),
            "plan": plan,
            "counts": plan.counts,
            "error": error,
            "form": typed_form(request.POST, error),
        }
        status = error.status if error else 200
        return render(request, "cases/patient_erase.html", context, status=status)
