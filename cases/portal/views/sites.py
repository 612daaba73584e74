"""Sites: all by name, one's own to change, and a new one with its first administrator."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext

from cases.errors import FieldInvalid, NotFound
from cases.models import Site
from cases.portal.staff import site_form, site_new_form
from cases.portal.training_forms import PlainForm
from cases.portal.views.people import ManagingView, typed
from cases.selectors.staff import site_list, site_numbers
from cases.services.staff import site_change, site_open


class SiteListView(ManagingView):
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        context = {
            "sites": site_list(actor=self.actor),
            "own": self.actor.site_id,
            "numbers": site_numbers(actor=self.actor),
        }
        return render(request, "people/site_list.html", context)


class SiteCreateView(ManagingView):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(site_new_form())

    def post(self, request: HttpRequest) -> HttpResponse:
        told = typed(request, "code", "name", "patient_issuer", "administrator")
        try:
            site, user, key = site_open(actor=self.actor, **told)
        except FieldInvalid as error:
            return self.page(site_new_form(told, error), status=error.status)
        messages.success(request, gettext("The site %(name)s is added.") % {"name": site.name})
        return self.link_page(user, key, made=True)

    def page(self, form: PlainForm, *, status: int = 200) -> HttpResponse:
        return render(self.request, "people/site_new.html", {"form": form}, status=status)


class SiteDetailView(ManagingView):
    """Of one's own site only: another one's is its administrators' to change."""

    def get(self, request: HttpRequest, site_id: UUID) -> HttpResponse:
        site = self.own(site_id)
        return self.page(site, site_form(site))

    def post(self, request: HttpRequest, site_id: UUID) -> HttpResponse:
        site = self.own(site_id)
        told = typed(request, "name", "patient_issuer", "reason")
        try:
            site_change(actor=self.actor, site_id=site.pk, **told)
        except FieldInvalid as error:
            return self.page(site, site_form(site, told, error), status=error.status)
        messages.success(request, gettext("The site is changed."))
        return redirect("site-list")

    def own(self, site_id: UUID) -> Site:
        for site in site_list(actor=self.actor):
            if site.pk == site_id == self.actor.site_id:
                return site
        raise NotFound()

    def page(self, site: Site, form: PlainForm, *, status: int = 200) -> HttpResponse:
        context = {"site": site, "form": form}
        return render(self.request, "people/site_detail.html", context, status=status)
