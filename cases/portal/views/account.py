"""Signing in and out, the first page, and the page of one's own account."""

from __future__ import annotations

from typing import Any

from allauth.account.internal import flows
from allauth.account.views import LoginView, LogoutView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.views import View
from django.views.decorators.cache import never_cache

from cases.errors import NotFound
from cases.portal.accounts import account_lines
from cases.portal.places import places_for
from cases.portal.session import actor_of, tell_session_ended, user_of
from cases.portal.views.base import PortalView
from cases.selectors.accounts import session_state
from cases.services.sessions import session_end, sessions_end


@method_decorator(never_cache, name="dispatch")
class SignInView(LoginView):
    """User name and password first; a second factor follows on a page of its own."""

    template_name = "account/sign_in.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        tell_session_ended(request)
        response: HttpResponse = super().get(request, *args, **kwargs)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        told = settings.BCWEB_ACCOUNTS
        return {
            **super().get_context_data(**kwargs),
            "sign_on_name": told.oidc_name if told.oidc_issuer else "",
        }


class SignOutView(LogoutView):
    """By POST only: a link on another page must not sign anybody out."""

    http_method_names = ["post", "options"]


class HomeView(View):
    """The first place this role may see."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponseBase:
        actor = actor_of(request)
        if actor is None:
            tell_session_ended(request)
            return redirect_to_login(request.get_full_path(), reverse("sign-in"))
        places = places_for(actor)
        if not places:
            # With the frame, not the bare error page: they must be able to sign out.
            return render(request, "account/no_role.html", status=403)
        return redirect(places[0].url_name)


class OwnAccountView(PortalView):
    """A page of one's own account: for everybody who is signed in, with a role or without."""

    any_of = ()
    for_anybody = True


class AccountView(OwnAccountView):
    """Password, second factor, passkeys and sessions, each with what can be done about it."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        user = user_of(request)
        lines = account_lines(user=user, session_key=request.session.session_key or "")
        return render(request, "account/account.html", {"account": lines})


class SessionEndView(OwnAccountView):
    """End one of one's own sessions, somewhere else."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, session_id: int) -> HttpResponse:
        try:
            session_end(actor=self.actor, session_id=session_id)
        except NotFound:
            messages.success(request, gettext("This session had ended already."))
        else:
            messages.success(request, gettext("The session is signed out."))
        return redirect(f"{reverse('account')}#sessions")


class SessionsEndView(OwnAccountView):
    """Sign out everywhere: all the others, or this one too."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        user = user_of(request)
        if request.POST.get("which") == "all":
            sessions_end(actor=self.actor, user=user, keep=request.session.session_key)
            flows.logout.logout(request)
            return redirect("sign-in")
        ended = sessions_end(actor=self.actor, user=user, keep=request.session.session_key)
        messages.success(
            request,
            ngettext(
                "{number} other session signed out.", "{number} other sessions signed out.", ended
            ).format(number=ended)
            if ended
            else gettext("There was no other session."),
        )
        return redirect(f"{reverse('account')}#sessions")


class IdleView(View):
    """How long the session lasts still. Asked by GET it goes on ending; by POST it begins anew."""

    http_method_names = ["get", "post", "options"]

    @method_decorator(never_cache)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        tell_session_ended(request)
        key = request.session.session_key
        state = session_state(key=key) if key and actor_of(request) is not None else None
        return JsonResponse({"seconds_left": state.seconds_left if state else 0})

    def post(self, request: HttpRequest) -> HttpResponse:
        # The middleware has noted that somebody is there: this is a POST.
        if "text/html" in request.headers.get("Accept", ""):
            return redirect("home")
        return self.get(request)
