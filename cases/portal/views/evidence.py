"""Stating what of a patient lies outside the models' evidence, from the case page."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext

from cases.access import Capability
from cases.portal.evidence import changes_of
from cases.portal.views.base import PortalView
from cases.portal.views.outcomes import case_url
from cases.selectors.cases import case_get
from cases.services.evidence import case_circumstances_state


class CircumstancesView(PortalView):
    any_of = (Capability.SUBMIT,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        made = case_circumstances_state(
            actor=self.actor, case_id=case.pk, stated=changes_of(request.POST.dict())
        )
        if made:
            messages.success(request, gettext("Noted. The answers stay as they are."))
        else:
            messages.info(request, gettext("Nothing was changed."))
        return redirect(case_url(case.pk, "evidence"))
