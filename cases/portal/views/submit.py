"""Submitting a case: one form, sent with or without script, taken in once."""

from __future__ import annotations

import re
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import ngettext

from cases.access import Capability
from cases.errors import StateConflict, UserFacingError
from cases.intake.upload import HashedUploadedFile
from cases.models import Submission
from cases.portal.forms import SubmissionForm, empty_form, name_as_dicom, refused_form
from cases.portal.views.base import PortalView
from cases.selectors.portal import submission_of_key
from cases.selectors.room import shortage_now
from cases.services.fields import submission_fields_parse
from cases.services.idempotency import submission_in_progress
from cases.services.submission import submission_create, upload_of

_KEY = re.compile(r"[A-Za-z0-9-]{8,64}")
# How often the waiting page looks (every 2 s) before it asks whether anything still comes.
MAX_LOOKS = 45


class SubmitView(PortalView):
    takes_uploads = True
    any_of = (Capability.SUBMIT,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(empty_form(), no_room=shortage_now() is not None)

    def post(self, request: HttpRequest) -> HttpResponseBase:
        key = request.POST.get("idempotency_key", "")
        if not _KEY.fullmatch(key):
            key = empty_form().key
        try:
            submission = self.take_in(request, key)
        except UserFacingError as error:
            if isinstance(error, StateConflict) and error.retry_after is not None:
                # A double click: the first press is still being taken in.
                return self.go(reverse("submission-pending", args=[key]))
            typed = {name: str(value) for name, value in request.POST.items()}
            form = refused_form(typed, key=key, error=error)
            return self.page(form, status=error.status, retry_after=error.retry_after)
        _say_taken_in(request, submission)
        return self.go(reverse("case-detail", args=[submission.case_id]))

    def take_in(self, request: HttpRequest, key: str) -> Submission:
        # The only upload handler of the settings makes them, hashed while they streamed in.
        files = cast(list[HashedUploadedFile], request.FILES.getlist("file"))
        try:
            raw = {name: request.POST.get(name, "") for name in request.POST}
            raw["patient_name"] = name_as_dicom(raw.get("patient_name", ""))
            return submission_create(
                actor=self.actor,
                fields=submission_fields_parse(raw),
                uploads=[upload_of(file) for file in files],
                idempotency_key=key,
                override_reason=raw.get("override_reason", ""),
            )
        finally:
            for file in files:
                file.close()

    def page(
        self,
        form: SubmissionForm,
        *,
        status: int = 200,
        retry_after: int | None = None,
        no_room: bool = False,
    ) -> HttpResponse:
        context: dict[str, Any] = {
            "form": form,
            "no_room": no_room,
            "max_files": settings.BCWEB_MAX_FILES,
            "max_megabytes": settings.BCWEB_MAX_UPLOAD_BYTES // 1024**2,
            "max_bytes": settings.BCWEB_MAX_UPLOAD_BYTES,
        }
        response = render(self.request, "cases/submit.html", context, status=status)
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    def go(self, url: str) -> HttpResponseBase:
        """On to another page: a redirect, told to the script in its own way."""
        if "HX-Request" in self.request.headers:
            response = HttpResponse(status=204)
            response.headers["HX-Redirect"] = url
            return response
        return redirect(url)


def _say_taken_in(request: HttpRequest, submission: Submission) -> None:
    taken, skipped = submission.images.count(), len(submission.skipped)
    text = ngettext("{number} image submitted.", "{number} images submitted.", taken).format(
        number=taken
    )
    if skipped:
        text += " " + ngettext(
            "{number} file skipped; see below.", "{number} files skipped; see below.", skipped
        ).format(number=skipped)
    messages.success(request, text)


class SubmissionPendingView(PortalView):
    """Where a second press of the button waits for the first to be taken in."""

    any_of = (Capability.SUBMIT,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, key: str) -> HttpResponseBase:
        looks = request.GET.get("looks", "0")[:4]
        looked = min(int(looks), MAX_LOOKS) if looks.isascii() and looks.isdigit() else 0
        # Asked before looking: what ends in between is found, not called missing.
        waiting = looked < MAX_LOOKS or submission_in_progress(actor=self.actor, key=key)
        submission = submission_of_key(actor=self.actor, key=key)
        if submission is not None:
            return redirect("case-detail", case_id=submission.case_id)
        context = {
            "waiting": waiting,
            "next_url": f"{request.path}?looks={looked + 1}",
        }
        return render(request, "cases/submission_pending.html", context)
