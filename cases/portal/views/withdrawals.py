"""Withdrawing an answer: a page that says what will happen, and asks why."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import FieldInvalid, UserFacingError
from cases.models import Result
from cases.portal.outcomes import typed_form
from cases.portal.views.base import PortalView
from cases.portal.views.outcomes import case_url
from cases.reports.answers import withdrawal_of
from cases.selectors.cases import case_get, result_named
from cases.selectors.readings import readings_naming
from cases.services.withdrawals import result_withdraw


class ResultWithdrawView(PortalView):
    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest, result_id: UUID) -> HttpResponse:
        return self.page(request, result_named(actor=self.actor, result_id=result_id))

    def post(self, request: HttpRequest, result_id: UUID) -> HttpResponse:
        result = result_named(actor=self.actor, result_id=result_id)
        try:
            result_withdraw(
                actor=self.actor, result_id=result.pk, reason=request.POST.get("reason", "")
            )
        except FieldInvalid as error:
            return self.page(request, result, error)
        messages.success(
            request, gettext("The answer was withdrawn. It stays visible, struck through.")
        )
        return redirect(case_url(result.image.case_id, f"image-{result.image_id}"))

    def page(
        self, request: HttpRequest, result: Result, error: UserFacingError | None = None
    ) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=result.image.case_id)
        pictures = [image.pk for image in case.images.all()]
        context = {
            "result": result,
            "case": case,
            "number": pictures.index(result.image_id) + 1,
            "withdrawn": withdrawal_of(result),
            "readings": readings_naming(result=result),
            "error": error,
            "form": typed_form(request.POST, error),
        }
        status = error.status if error else 200
        return render(request, "cases/result_withdraw.html", context, status=status)
