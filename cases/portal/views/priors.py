"""A picture of this case and one of an earlier case of the same patient, side by side."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Case
from cases.portal.priors import side_of
from cases.portal.reads import note_shown
from cases.portal.shown import summary_shown
from cases.portal.views.base import PortalView
from cases.portal.views.worklist import given_id
from cases.selectors.cases import case_get
from cases.selectors.priors import prior_get
from cases.services.audit import audit_record


def given_frame(request: HttpRequest, name: str) -> int | None:
    """A frame in the address, counted from one there and from zero here; None where none is."""
    value = request.GET.get(name, "")
    if value.isascii() and value.isdigit() and 0 < len(value) < 7:
        return int(value) - 1
    return None


class PriorCompareView(PortalView):
    """`?image=` of this case and `?prior=` of the earlier one; both are audited as views."""

    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        image_id, prior_image_id = given_id(request, "image"), given_id(request, "prior")
        if image_id is None or prior_image_id is None:
            raise NotFound()
        prior = prior_get(actor=self.actor, case=case, image_id=prior_image_id)
        summaries = [summary_shown(actor=self.actor, case=one) for one in (case, prior)]
        note_shown(self.actor, summaries)
        chosen = ((image_id, "image", "frame"), (prior_image_id, "prior", "prior_frame"))
        sides = [
            side_of(
                actor=self.actor,
                summary=summary,
                image_id=image,
                frame=given_frame(request, frame),
                name=name,
            )
            for summary, (image, name, frame) in zip(summaries, chosen, strict=True)
        ]
        note_compared(self.actor, case, prior)
        context = {
            "case": case,
            "sides": sides,
            "patient": case.patient if self.can(Capability.VIEW_IDENTITY) else None,
            "with_identity": self.can(Capability.VIEW_IDENTITY),
        }
        return render(request, "cases/case_compare.html", context)


def note_compared(actor: Actor, case: Case, prior: Case) -> None:
    """Both cases were looked at, each in its own trail."""
    for one, other in ((case, prior), (prior, case)):
        audit_record(
            actor=actor,
            action="case.compared",
            object_type="case",
            object_id=one.pk,
            site_id=one.site_id,
            case_id=one.pk,
            detail={"with": str(other.pk)},
        )
