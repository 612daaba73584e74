"""Where single sign-on ends when it does not lead in."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views import View
from django.views.generic import RedirectView

to_sign_in = RedirectView.as_view(pattern_name="sign-in")


class SignOnCancelledView(View):
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        messages.error(request, gettext("You called the sign-in off. Nothing has changed."))
        return redirect("sign-in")


class SignOnFailedView(View):
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        messages.error(
            request, gettext("The sign-in did not succeed. Try again, or tell your administrator.")
        )
        return redirect("sign-in")
