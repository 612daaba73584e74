"""A person's saved views of the worklist: the page that makes and changes them."""

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
from cases.models.worklist import MAX_VIEW_NAME
from cases.portal.ai_view import ai_offered
from cases.portal.views.base import PortalView
from cases.portal.views.worklist import typed_filters
from cases.portal.worklist_filters import filter_words
from cases.selectors.saved_views import saved_view_of, saved_views
from cases.services.saved_views import (
    saved_view_create,
    saved_view_default,
    saved_view_delete,
    saved_view_rename,
)
from cases.told import told
from cases.worklisting import WorklistFilters, worklist_filters_parse


class _Views(PortalView):
    any_of = (Capability.VIEW_CASES,)

    def page(
        self,
        request: HttpRequest,
        filters: WorklistFilters,
        *,
        name: str = "",
        problem: UserFacingError | None = None,
        of: UUID | None = None,
    ) -> HttpResponse:
        """The page; with what was typed and why it was refused, for a new view or that ``of``."""
        sentences = (
            [s for lines in (problem.errors or {}).values() for s in lines] if problem else []
        )
        context: dict[str, Any] = {
            "lines": [
                {
                    "view": view,
                    "words": filter_words(self.told(worklist_filters_parse(view.filters))),
                    "typed": name if of == view.pk else view.name,
                    "problem": " ".join(told(sentences)) if of == view.pk else "",
                }
                for view in saved_views(actor=self.actor)
            ],
            "words": filter_words(filters),
            "hidden": filters.as_words(),
            "name": "" if of else name,
            "problem": ""
            if of
            else " ".join(told(sentences)) or told(problem.detail if problem else ""),
            "max_name": MAX_VIEW_NAME,
        }
        status = problem.status if problem else 200
        return render(request, "cases/worklist_views.html", context, status=status)

    def told(self, filters: WorklistFilters) -> WorklistFilters:
        return filters if ai_offered(actor=self.actor) else filters.without_the_model()


class WorklistViewsView(_Views):
    """The views, and a form to save the filters of the address under a name."""

    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(request, worklist_filters_parse(typed_filters(request.GET)))

    def post(self, request: HttpRequest) -> HttpResponse:
        filters = worklist_filters_parse(typed_filters(request.POST))
        name = request.POST.get("name", "")
        try:
            view = saved_view_create(actor=self.actor, name=name, filters=filters)
        except (FieldInvalid, StateConflict) as error:
            return self.page(request, filters, name=name, problem=error)
        messages.success(request, gettext("Saved as “{name}”.").format(name=view.name))
        return redirect(f"{reverse('worklist')}?view={view.pk}")


class WorklistViewChangeView(_Views):
    """Rename, delete, or open by itself: one of the person's own views."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, view_id: UUID) -> HttpResponse:
        view = saved_view_of(saved_views(actor=self.actor), view_id)
        act, name = request.POST.get("act", ""), request.POST.get("name", "")
        try:
            if act == "rename":
                saved_view_rename(actor=self.actor, view_id=view_id, name=name)
                messages.success(request, gettext("Renamed."))
            elif act in ("open", "no-open"):
                saved_view_default(actor=self.actor, view_id=view_id, is_default=act == "open")
                messages.success(request, self.opens(view.name, act == "open"))
            elif act == "delete":
                saved_view_delete(actor=self.actor, view_id=view_id)
                messages.success(
                    request,
                    gettext("Deleted “{name}”. Its cases are untouched.").format(name=view.name),
                )
            else:
                raise NotFound()
        except FieldInvalid as error:
            return self.page(request, WorklistFilters(), name=name, problem=error, of=view_id)
        return redirect("worklist-views")

    def opens(self, name: str, by_itself: bool) -> str:
        if by_itself:
            return gettext("The worklist opens with “{name}” from now on.").format(name=name)
        return gettext("The worklist opens with all cases from now on.")
