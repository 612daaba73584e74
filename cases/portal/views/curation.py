"""Curation: the list of candidates, one with its picture and the decision, freezing accepted ones.

Nothing here names a patient: administrators work without identity.
"""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import NotFound, UserFacingError
from cases.models import TrainingCandidate
from cases.portal.curation import (
    CONFLICTS,
    FILTERS,
    FREEZE_FIELDS,
    SIDES,
    FreezeLine,
    Line,
    lookalike_lines,
    option_words,
)
from cases.portal.outcomes import typed_form
from cases.portal.training_forms import PlainForm, plain_form
from cases.portal.views.base import PortalView
from cases.selectors.curation import (
    box_is_whole,
    candidate_counts,
    candidate_events,
    candidate_get,
    candidate_list,
    candidate_options,
    frozen_in,
    hindrances,
    image_box,
    lookalikes_of,
)
from cases.selectors.freezes import freeze_get, freeze_list, patients_on_sides, side_of
from cases.services.curation import (
    candidate_accept,
    candidate_picture,
    candidate_reject,
    candidate_reopen,
)
from cases.services.freezes import freeze_fields_parse, freeze_request
from cases.services.jobs import job_cancel
from cases.services.patient_keys import patient_key
from cases.states import CandidateState
from cases.told import told

PAGE_SIZE = 50
SHOWN = 50
POLL_MS = 2000


class CurationView(PortalView):
    any_of = (Capability.CURATE,)
    http_method_names = ["get", "head", "options"]


class CandidateListView(CurationView):
    """The candidates of the site, those that wait first; filters and pages in the address."""

    def get(self, request: HttpRequest) -> HttpResponse:
        # Without any word about it, what waits.
        given = {name: request.GET.get(name, "") for name, _, _ in FILTERS}
        if "state" not in request.GET:
            given["state"] = CandidateState.PENDING.value
        known = {name: {value for value, _ in choices} for name, _, choices in FILTERS}
        chosen = {name: value if value in known[name] else "" for name, value in given.items()}
        page = _page(request.GET.get("page", ""))
        rows = candidate_list(actor=self.actor, **chosen)
        found = list(rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE + 1])
        query = urlencode(chosen)
        context = {
            "lines": [Line(row) for row in found[:PAGE_SIZE]],
            "counts": candidate_counts(actor=self.actor),
            "filters": [(n, label, choices, chosen[n]) for n, label, choices in FILTERS],
            "is_filtered": any(v for n, v in chosen.items() if n != "state"),
            "older": f"?{query}&page={page + 1}" if len(found) > PAGE_SIZE else "",
            "newer": f"?{query}&page={page - 1}" if page > 1 else "",
        }
        return render(request, "curation/candidate_list.html", context)


def _page(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 7 else 1


class _CandidatePage(CurationView):
    def page(
        self,
        candidate: TrainingCandidate,
        *,
        error: UserFacingError | None = None,
        decision: str = "",
    ) -> HttpResponse:
        image = candidate.image
        patient = image.case.patient
        box = image_box(image) if patient.erased_at is None else None
        looks = lookalikes_of(candidate)
        key = patient_key(issuer=patient.issuer, patient_id=patient.patient_id)
        waiting = candidate_list(actor=self.actor, state=CandidateState.PENDING)
        context = {
            "candidate": candidate,
            "line": Line(candidate),
            "conflict": CONFLICTS.get(candidate.conflict, ""),
            "options": option_words(candidate_options(candidate)),
            "box": ",".join(map(str, box)) if box else "",
            "whole": box is not None and box_is_whole(image, box),
            "looks": lookalike_lines(candidate, looks),
            "hindrances": told(hindrances(candidate, looks)),
            "side": SIDES[side_of(patient_key=key)] if patient.erased_at is None else "",
            "frozen": frozen_in(candidate),
            "events": candidate_events(candidate),
            "following": waiting.exclude(pk=candidate.pk).first(),
            "error": error,
            "decision": decision,
            "form": typed_form(self.request.POST, error),
        }
        status = error.status if error else 200
        return render(self.request, "curation/candidate_detail.html", context, status=status)


class CandidateDetailView(_CandidatePage):
    def get(self, request: HttpRequest, candidate_id: UUID) -> HttpResponse:
        return self.page(candidate_get(actor=self.actor, candidate_id=candidate_id))


class CandidatePictureView(CurationView):
    """The part of the frame that was accepted, else the one that would be."""

    def get(self, request: HttpRequest, candidate_id: UUID) -> HttpResponse:
        candidate = candidate_get(actor=self.actor, candidate_id=candidate_id)
        box = candidate.box or image_box(candidate.image)
        if box is None:
            raise NotFound(gettext("The image has not been read yet."))
        png = candidate_picture(actor=self.actor, image=candidate.image, box=box)
        return HttpResponse(png, content_type="image/png")


class CandidateDecideView(_CandidatePage):
    """`decision`: accept, reject or reopen. A refused one comes back with what was typed."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, candidate_id: UUID) -> HttpResponse:
        candidate = candidate_get(actor=self.actor, candidate_id=candidate_id)
        decision = request.POST.get("decision", "")
        try:
            done = self.decide(candidate_id, decision)
        except UserFacingError as error:
            candidate.refresh_from_db()
            return self.page(candidate, error=error, decision=decision)
        messages.success(request, done)
        return redirect("candidate-detail", candidate_id=candidate_id)

    def decide(self, candidate_id: UUID, decision: str) -> str:
        typed = self.request.POST
        version = _whole(typed.get("version", ""))
        reason = typed.get("reason", "")
        if decision == "accept":
            candidate_accept(
                actor=self.actor,
                candidate_id=candidate_id,
                version=version,
                box=[_whole(edge) for edge in typed.get("box", "").split(",")],
                reason=reason,
                identity_checked=typed.get("identity_checked") == "1",
                outcome_id=_uuid(typed.get("outcome", "")),
            )
            return gettext("Accepted. It goes into the next snapshot of its patient's side.")
        if decision == "reject":
            candidate_reject(
                actor=self.actor, candidate_id=candidate_id, version=version, reason=reason
            )
            return gettext("Rejected. It goes into no snapshot from now on.")
        if decision == "reopen":
            candidate_reopen(
                actor=self.actor, candidate_id=candidate_id, version=version, reason=reason
            )
            return gettext("Open again: it waits for a decision.")
        raise NotFound()


def _whole(text: str) -> int:
    """A number of a hidden field; one that nothing has where it was tampered with."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class FreezeListView(CurationView):
    """Snapshots of accepted images, and asking for one. As a fragment (`?seen=`): 204 where
    nothing changed."""

    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        seen = request.GET.get("seen")
        if seen is None:
            return self.page(plain_form(FREEZE_FIELDS))
        rows = self.rows()
        if seen == rows["token"]:
            return HttpResponse(status=204)
        return render(request, "curation/partials/freezes.html", rows)

    def post(self, request: HttpRequest) -> HttpResponse:
        typed = {name: str(value).replace("\x00", "") for name, value in request.POST.items()}
        try:
            freeze_request(actor=self.actor, fields=freeze_fields_parse(typed))
        except UserFacingError as error:
            form = plain_form(FREEZE_FIELDS, typed, error=error)
            return self.page(form, status=error.status)
        messages.success(
            request, gettext("The snapshot is asked for. The training worker makes it.")
        )
        return redirect("freeze-list")

    def page(self, form: PlainForm, *, status: int = 200) -> HttpResponse:
        context = {
            **self.rows(),
            "form": form,
            "counts": candidate_counts(actor=self.actor),
            "sides": patients_on_sides(),
        }
        return render(self.request, "curation/freeze_list.html", context, status=status)

    def rows(self) -> dict[str, object]:
        lines = [FreezeLine(freeze) for freeze in freeze_list(actor=self.actor)[:SHOWN]]
        seen = [(str(x.freeze.pk), x.words, x.doing, x.freeze.job.error_code) for x in lines]
        token = hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
        return {
            "lines": lines,
            "token": token,
            "poll": any(line.is_active for line in lines),
            "poll_ms": POLL_MS,
            "poll_url": f"{reverse('freeze-list')}?seen={token}",
        }


class FreezeCancelView(CurationView):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, freeze_id: UUID) -> HttpResponse:
        freeze = freeze_get(actor=self.actor, freeze_id=freeze_id)
        try:
            job_cancel(actor=self.actor, job_id=freeze.pk)
        except UserFacingError as error:
            messages.error(request, told(error.detail))
        else:
            messages.success(request, gettext("Called off. Nothing of it is kept."))
        return redirect("freeze-list")
