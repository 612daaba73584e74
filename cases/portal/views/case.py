"""The case page, the fragment that keeps it live, its history, and what can be done to a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import FieldInvalid, Overloaded, StateConflict
from cases.models import Case, Image, Job, Submission
from cases.portal.evidence import evidence_context
from cases.portal.history import entries_of, things_of
from cases.portal.images import ImagePanel, panels_of, side_of, tokens_of
from cases.portal.openings import identity_context
from cases.portal.outcomes import outcomes_context
from cases.portal.priors import priors_context
from cases.portal.readings import readings_context
from cases.portal.reads import note_shown
from cases.portal.shown import summary_shown
from cases.portal.views.base import PortalView
from cases.portal.views.worklist import given_id
from cases.portal.wording import STATES
from cases.reports.answers import CaseSummary
from cases.selectors.cases import case_get
from cases.selectors.corrections import case_corrections, case_erasure
from cases.selectors.jobs import job_get
from cases.selectors.portal import case_events, case_steps, submissions_of_note
from cases.selectors.replays import replayable_get
from cases.services.audit import audit_record
from cases.services.jobs import job_cancel, job_rerun
from cases.services.replays import replay_request
from cases.states import JobState
from cases.told import told

POLL_MS = 1500
TIMELINE_STEPS = 6
HISTORY_PAGE = 100
# More skipped files than these are counted, not listed.
MAX_SKIPPED = 100


def given_number(request: HttpRequest, name: str) -> int | None:
    """A whole number from one in the query or form; None where there is none."""
    value = request.POST.get(name, "") or request.GET.get(name, "")
    if value.isascii() and value.isdigit() and 0 < len(value) < 19:
        return int(value)
    return None


class _CasePage(PortalView):
    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def shown_frames(self, request: HttpRequest) -> dict[UUID, int]:
        """The frame somebody asked to look at: `?image=` and `?frame=` (counted from one)."""
        image_id, frame = given_id(request, "image"), given_number(request, "frame")
        return {image_id: frame - 1} if image_id is not None and frame is not None else {}

    def live_context(
        self, request: HttpRequest, summary: CaseSummary, panels: Sequence[ImagePanel]
    ) -> dict[str, Any]:
        """What page and fragment share."""
        query = {name: request.GET[name] for name in ("image", "frame") if name in request.GET}
        query["seen"] = tokens_of(panels)
        url = reverse("case-answers", args=[summary.case.pk])
        return {
            "case": summary.case,
            "summary": summary,
            "case_state": STATES[summary.key],
            "panels": panels,
            "several": len(panels) > 1,
            "with_identity": self.can(Capability.VIEW_IDENTITY),
            "can_read": self.can(Capability.READ_CASES),
            "poll": any(not panel.is_final or panel.is_replaying for panel in panels),
            "poll_ms": POLL_MS,
            "poll_url": f"{url}?{urlencode(query)}",
        }


class CaseDetailView(_CasePage):
    """The whole page. Looking at it is audited; of the fragments that follow, first reads are."""

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        if case.patient.erased_at is not None:
            tombstone = {"case": case, "erasure": case_erasure(case=case)}
            return render(request, "cases/case_erased.html", tombstone)
        audit_record(
            actor=self.actor,
            action="case.viewed",
            object_type="case",
            object_id=case.pk,
            site_id=case.site_id,
            case_id=case.pk,
        )
        summary = summary_shown(actor=self.actor, case=case)
        note_shown(self.actor, [summary])
        submissions = submissions_of_note(case=case)
        panels = panels_of(
            summary,
            actor=self.actor,
            shown=self.shown_frames(request),
            reasons={submission.pk: submission.override_reason for submission in submissions},
        )
        skipped = self.skipped(submissions)
        context = self.live_context(request, summary, panels) | {
            "patient": case.patient if self.can(Capability.VIEW_IDENTITY) else None,
            "findings": list(case.findings.all()),
            "side_of_images": side_of(panels),
            "priority": summary.priority,
            "skipped": skipped[:MAX_SKIPPED],
            "skipped_count": len(skipped),
            "skipped_more": max(0, len(skipped) - MAX_SKIPPED),
            "timeline": entries_of(
                case_steps(actor=self.actor, case_id=case.pk, limit=TIMELINE_STEPS),
                things_of(case),
            ),
        }
        context |= self.review_context(case, summary)
        return render(request, "cases/case_detail.html", context)

    def review_context(self, case: Case, summary: CaseSummary) -> dict[str, Any]:
        """What people read, found out and corrected, and what this person may add."""
        return {
            **readings_context(actor=self.actor, case=case, summary=summary),
            **outcomes_context(actor=self.actor, case=case),
            **evidence_context(actor=self.actor, case=case),
            **priors_context(actor=self.actor, case=case),
            **identity_context(self.request, self.actor, case),
            "can_submit": self.can(Capability.SUBMIT),
            "can_erase": self.can(Capability.ERASE),
            "corrections": case_corrections(case=case),
        }

    def skipped(self, submissions: Sequence[Submission]) -> list[dict[str, Any]]:
        """The files left out, newest delivery first, and when they came.

        Their names only for those who may see patients'.
        """
        rows = [{**row, "at": s.created_at} for s in submissions for row in s.skipped]
        if self.can(Capability.VIEW_IDENTITY):
            return rows
        return [
            {**row, "file": gettext("File {number}").format(number=n)}
            for n, row in enumerate(rows, start=1)
        ]


class CaseAnswersView(_CasePage):
    """What changed since the page (or the last poll) was drawn; 204 where nothing did."""

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        if case.patient.erased_at is not None:
            # The page that polls shows what is gone: load it anew.
            return HttpResponse(status=204, headers={"HX-Refresh": "true"})
        summary = summary_shown(actor=self.actor, case=case)
        every = panels_of(summary, actor=self.actor, shown=self.shown_frames(request))
        told = request.GET.get("seen", "")
        seen = told.split(".") if told else [""] * len(every)
        # Images that arrived after the page was drawn have no place on it yet.
        panels = every[: len(seen)]
        last = {p.number: token for p, token in zip(panels, seen, strict=False)}
        changed = [panel for panel in panels if panel.token != last[panel.number]]
        if not changed:
            return HttpResponse(status=204)
        # An answer that appears while one looks is seen, as one that was there before.
        note_shown(self.actor, [summary])
        context = self.live_context(request, summary, panels) | {
            "changed": changed,
            "news": [
                gettext("Image {number}: {words}.").format(number=panel.number, words=words)
                for panel in changed
                if (words := panel.news_since(last[panel.number]))
            ],
            "arrived": len(every) - len(panels),
            "oob": True,
        }
        return render(request, "cases/partials/case_live.html", context)


class CaseAuditView(_CasePage):
    """Who did what to the case, in sentences."""

    def get(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        case: Case = case_get(actor=self.actor, case_id=case_id)
        page = case_events(
            actor=self.actor,
            case_id=case.pk,
            limit=HISTORY_PAGE,
            older_than=given_number(request, "older_than"),
        )
        context = {"case": case, "page": page, "entries": entries_of(page.rows, things_of(case))}
        return render(request, "cases/case_audit.html", context)


class _JobAction(PortalView):
    """Something done to a job, and back to its case."""

    any_of = (Capability.SUBMIT, Capability.OPERATE)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, job_id: UUID) -> HttpResponse:
        job = job_get(actor=self.actor, job_id=job_id)
        image = job.image
        if image is None:
            raise StateConflict()
        try:
            query = self.act(request, job, image)
        except (StateConflict, FieldInvalid, Overloaded) as error:
            sentences = [s for lines in (error.errors or {}).values() for s in lines]
            messages.error(request, " ".join(told(sentences)) or told(error.detail))
            query = ""
        page = reverse("case-detail", args=[image.case_id])
        return redirect(f"{page}{query}#image-{image.pk}")

    def act(self, request: HttpRequest, job: Job, image: Image) -> str:
        raise NotImplementedError


class JobCancelView(_JobAction):
    def act(self, request: HttpRequest, job: Job, image: Image) -> str:
        job_cancel(actor=self.actor, job_id=job.pk)
        messages.success(request, gettext("Cancelled. The image stays; you can run it again."))
        return ""


class JobRerunView(_JobAction):
    """Read the image again, or another frame of it (`frame`, counted from one)."""

    def act(self, request: HttpRequest, job: Job, image: Image) -> str:
        typed = request.POST.get("frame", "").strip()
        frame = given_number(request, "frame")
        if typed and (frame is None or not 1 <= frame <= image.frames):
            raise FieldInvalid(errors={"frame": [f"Enter a frame from 1 to {image.frames}."]})
        again = job_rerun(
            actor=self.actor, job_id=job.pk, frame=None if frame is None else frame - 1
        )
        assert again.state == JobState.PENDING and again.frame is not None
        messages.success(request, gettext("Asked for a new reading. The earlier answers stay."))
        if image.frames == 1:
            return ""
        return f"?image={image.pk}&frame={again.frame + 1}"


class ResultReplayView(PortalView):
    """Compute a stored answer again; the page then shows whether it came out equal."""

    any_of = (Capability.SUBMIT, Capability.OPERATE)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, result_id: UUID) -> HttpResponse:
        result = replayable_get(actor=self.actor, result_id=result_id)
        try:
            replay_request(actor=self.actor, result_id=result.pk)
        except Overloaded as error:
            messages.error(request, told(error.detail))
        else:
            messages.success(
                request, gettext("The answer is being computed again. It stays as it is.")
            )
        page = reverse("case-detail", args=[result.image.case_id])
        return redirect(f"{page}#image-{result.image_id}")
