"""Opening a patient's identity for a while, with a reason, and closing it again."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import FieldInvalid
from cases.portal.openings import session_of
from cases.portal.outcomes import typed_form
from cases.portal.views.base import PortalView
from cases.portal.views.outcomes import case_url
from cases.selectors.cases import case_get
from cases.selectors.openings import opening_now
from cases.services.openings import OPEN_MINUTES, identity_close, identity_open


class IdentityOpenView(PortalView):
    any_of = (Capability.OPEN_IDENTITY,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        return self.page(case_id)

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        try:
            identity_open(
                actor=self.actor,
                case_id=case_id,
                reason=request.POST.get("reason", ""),
                session=session_of(request),
            )
        except FieldInvalid as error:
            return self.page(case_id, error)
        return redirect(case_url(case_id, "main"))

    def page(self, case_id: UUID, error: FieldInvalid | None = None) -> HttpResponse:
        context = {
            "case": case_get(actor=self.actor, case_id=case_id),
            "minutes": OPEN_MINUTES,
            "error": error,
            "form": typed_form(self.request.POST, error),
        }
        status = error.status if error else 200
        return render(self.request, "cases/identity_open.html", context, status=status)


class IdentityCloseView(PortalView):
    any_of = (Capability.OPEN_IDENTITY,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        identity_close(actor=self.actor, case_id=case_id, session=session_of(request))
        messages.success(request, gettext("The patient's identity is hidden again."))
        return redirect(case_url(case_id, "main"))


class IdentityStateView(PortalView):
    """Asked by the page when the time is over: has it drawn anew, without the identity."""

    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        opening = opening_now(actor=self.actor, case_id=case.pk, session=session_of(request))
        response = HttpResponse(status=204)
        if opening is None:
            response.headers["HX-Refresh"] = "true"
        return response
