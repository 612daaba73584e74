"""Writing and signing readings, from the case page."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import FieldInvalid, NotFound, StateConflict
from cases.models import Reading
from cases.portal.reading_form import typed_fields
from cases.portal.readings import LABELS, draft_at, form_for, title_of
from cases.portal.views.base import PortalView
from cases.selectors.cases import case_get
from cases.selectors.readings import drafts_of
from cases.services.readings import (
    Place,
    reading_content_parse,
    reading_draft_discard,
    reading_draft_save,
    reading_sign,
)
from cases.vocabulary import ReadingLabel


def posted_id(request: HttpRequest, name: str) -> UUID | None:
    """An id in a form; ``NotFound`` where it is not one, None where it is empty."""
    value = request.POST.get(name, "")
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise NotFound() from None


def posted_version(request: HttpRequest) -> int:
    """The version of the draft a form was drawn with; 0 where there was none."""
    value = request.POST.get("version", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0


class ReadingWriteView(PortalView):
    """Save a draft or sign (`action`). Refused: the form again, with all that was typed."""

    any_of = (Capability.READ_CASES,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        place = Place(posted_id(request, "finding"), posted_id(request, "addendum_to"))
        signing = request.POST.get("action") == "sign"
        write = reading_sign if signing else reading_draft_save
        try:
            write(
                actor=self.actor,
                case_id=case_id,
                place=place,
                content=reading_content_parse(typed_fields(request.POST)),
                version=posted_version(request),
            )
        except (FieldInvalid, StateConflict) as error:
            return self.refused(request, case_id, place, error)
        if signing:
            messages.success(
                request,
                gettext("Addendum signed. It stays as it is; changes are addenda.")
                if place.addendum_to_id
                else gettext("Reading signed. It stays as it is; changes are addenda."),
            )
        else:
            messages.success(request, gettext("Draft saved. Nobody else sees it until you sign."))
        return redirect(f"{reverse('case-detail', args=[case_id])}#readings")

    def refused(
        self,
        request: HttpRequest,
        case_id: UUID,
        place: Place,
        error: FieldInvalid | StateConflict,
    ) -> HttpResponse:
        case = case_get(actor=self.actor, case_id=case_id)
        stored = draft_at(drafts_of(actor=self.actor, case_id=case.pk), place)
        conflict = isinstance(error, StateConflict)
        version = posted_version(request)
        if conflict:
            # What is saved from here on is saved in the knowledge of the stored draft.
            version = stored.version if stored else 0
        finding = next((f for f in case.findings.all() if f.pk == place.finding_id), None)
        context: dict[str, Any] = {
            "case": case,
            "title": title_of(finding),
            "error": error,
            "form": form_for(
                place,
                draft=stored,
                typed=typed_fields(request.POST),
                error=error,
                version=version,
            ),
            "stored": stored if conflict else None,
            "stored_label": LABELS[ReadingLabel(stored.label)] if stored else "",
        }
        return render(request, "cases/reading_refused.html", context, status=error.status)


class ReadingKeepView(PortalView):
    """Keeps a draft while somebody types: answers with the line below the form, which holds the
    version that the next save goes on from. What is refused stays in the form, and is told there.
    """

    any_of = (Capability.READ_CASES,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, case_id: UUID) -> HttpResponse:
        place = Place(posted_id(request, "finding"), posted_id(request, "addendum_to"))
        version = posted_version(request)
        draft: Reading | None = None
        error: FieldInvalid | StateConflict | None = None
        try:
            content = reading_content_parse(typed_fields(request.POST))
            if content.is_empty and version == 0:
                # Nothing was said, and nothing is kept of it.
                return HttpResponse(status=204)
            draft = reading_draft_save(
                actor=self.actor,
                case_id=case_id,
                place=place,
                content=content,
                version=version,
                by_itself=True,
            )
        except (FieldInvalid, StateConflict) as refused:
            error = refused
        form = form_for(place, draft=draft, error=error, version=None if draft else version)
        context = {"form": form, "error": error}
        status = error.status if error else 200
        return render(request, "cases/partials/reading_draft.html", context, status=status)


class ReadingDiscardView(PortalView):
    any_of = (Capability.READ_CASES,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, reading_id: UUID) -> HttpResponse:
        case_id = reading_draft_discard(
            actor=self.actor, reading_id=reading_id, version=posted_version(request)
        )
        messages.success(request, gettext("The draft was thrown away."))
        return redirect(f"{reverse('case-detail', args=[case_id])}#readings")
