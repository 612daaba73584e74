"""Signing in and out, and the first page."""

from __future__ import annotations

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache

from cases.portal.places import places_for
from cases.portal.session import actor_of


class SignInForm(AuthenticationForm):
    """Says the same for a wrong name, a wrong password and a closed account."""

    error_messages = {
        "invalid_login": (
            "User name and password do not match. Check both; the password is case-sensitive."
        ),
        "inactive": (
            "User name and password do not match. Check both; the password is case-sensitive."
        ),
    }


@method_decorator(never_cache, name="dispatch")
class SignInView(LoginView):
    template_name = "account/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True
    next_page = "home"


class SignOutView(LogoutView):
    """By POST only: a link on another page must not sign anybody out."""

    http_method_names = ["post", "options"]


class HomeView(View):
    """The first place this role may see."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponseBase:
        actor = actor_of(request)
        if actor is None:
            return redirect_to_login(request.get_full_path(), reverse("sign-in"))
        places = places_for(actor)
        if not places:
            # With the frame, not the bare error page: they must be able to sign out.
            return render(request, "account/no_role.html", status=403)
        return redirect(places[0].url_name)
