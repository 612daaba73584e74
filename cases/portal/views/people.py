"""The people and systems of a site: the list, one of them, and what administrators change."""

from __future__ import annotations

import math
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from cases.access import Capability, Role
from cases.errors import FieldInvalid, PermissionDenied, StateConflict, UserFacingError
from cases.models import User
from cases.portal.history import entries_of
from cases.portal.staff import ROLES, BoxForm, TokenLine, UserLine, role_boxes, user_form
from cases.portal.views.base import PortalView
from cases.selectors.staff import (
    factors_of,
    site_list,
    tokens_of,
    user_get,
    user_history,
    user_page,
)
from cases.services.accounts import second_factor_reset
from cases.services.lockout import lock_lift, lock_seconds
from cases.services.staff import (
    account_close,
    account_open,
    password_reset,
    roles_change,
    user_invite,
    user_move,
)
from cases.told import told

PAGE_SIZE = 50
HISTORY = 20
_REFUSALS = (FieldInvalid, StateConflict, PermissionDenied)


def typed(request: HttpRequest, *names: str) -> dict[str, str]:
    """What was typed into these fields, without what no field can hold."""
    return {name: request.POST.get(name, "").replace("\x00", "")[:600] for name in names}


def roles_typed(request: HttpRequest) -> list[Role]:
    known = {role.value for role in Role}
    return [Role(value) for value in request.POST.getlist("roles") if value in known]


class ManagingView(PortalView):
    any_of = (Capability.MANAGE_USERS,)
    http_method_names = ["get", "head", "post", "options"]

    def link_page(self, user: User, key: str, *, made: bool) -> HttpResponse:
        """The only page that ever shows a link: the answer to making it."""
        query = urlencode({"user": str(user.pk), "key": key})
        url = self.request.build_absolute_uri(f"{reverse('password-choose')}?{query}")
        context = {"account": user, "url": url, "made": made}
        return render(self.request, "people/link.html", context)


class UserListView(ManagingView):
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        asked = {n: request.GET.get(n, "").replace("\x00", "")[:150] for n in ("q", "role")}
        after = request.GET.get("after", "").replace("\x00", "")[:150]
        page = user_page(
            actor=self.actor, size=PAGE_SIZE, after=after, query=asked["q"], role=asked["role"]
        )
        kept = urlencode({name: value for name, value in asked.items() if value})
        context = {
            **asked,
            "page": page,
            "lines": [UserLine(user) for user in page.rows],
            "roles": [(role.value, words) for role, (words, _) in ROLES.items()],
            "filtered": bool(kept),
            "query": f"{kept}&" if kept else "",
        }
        return render(request, "people/user_list.html", context)


class UserCreateView(ManagingView):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(user_form())

    def post(self, request: HttpRequest) -> HttpResponse:
        values = typed(request, "username", "signs_in")
        roles = roles_typed(request)
        try:
            user, key = user_invite(
                actor=self.actor,
                username=values["username"],
                roles=roles,
                signs_in=values["signs_in"] != "token",
            )
        except (FieldInvalid, StateConflict) as error:
            return self.page(user_form(values, roles, error), status=error.status)
        if key:
            return self.link_page(user, key, made=True)
        messages.success(
            request,
            gettext("%(user)s is added. Now make it a token.") % {"user": user.get_username()},
        )
        return redirect(f"{reverse('token-list')}?owner={user.pk}")

    def page(self, form: BoxForm, *, status: int = 200) -> HttpResponse:
        context = {"form": form, "site": self.request.user.site}  # type: ignore[union-attr]
        return render(self.request, "people/user_new.html", context, status=status)


class UserDetailView(ManagingView):
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, user_id: UUID) -> HttpResponse:
        return self.page(user_id)

    def page(self, user_id: UUID, error: UserFacingError | None = None) -> HttpResponse:
        user = user_get(actor=self.actor, user_id=user_id)
        errors = (error.errors or {}) if error else {}
        problems = [told(s) for lines in errors.values() for s in lines]
        context = {
            "line": UserLine(user),
            "account": user,
            "is_self": user.pk == self.actor.user_id,
            "roles": [(ROLES[Role(row.role)][0], row) for row in user.role_rows.all()],
            "boxes": role_boxes(user.roles),
            "factors": factors_of(user=user),
            "locked": _locked(user),
            "tokens": [TokenLine(standing) for standing in tokens_of(user=user)],
            "history": entries_of(user_history(user=user, limit=HISTORY)),
            "sites": [s for s in site_list(actor=self.actor) if s.pk != user.site_id],
            "problems": problems or ([told(error.detail)] if error else []),
        }
        status = error.status if error else 200
        return render(self.request, "people/user_detail.html", context, status=status)


def _locked(user: User) -> str:
    """How long signing in stays locked after failures, in words; "" where it is not."""
    minutes = math.ceil(lock_seconds(user=user) / 60)
    if not minutes:
        return ""
    return ngettext(
        "After failed attempts signing in is locked for another minute.",
        "After failed attempts signing in is locked for another %(n)d minutes.",
        minutes,
    ) % {"n": minutes}


class _UserAct(UserDetailView):
    """Something done to an account, and its page again: with a notice, or with why not."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, user_id: UUID) -> HttpResponse:
        # Another site's account is not there, whatever is asked of it.
        user = user_get(actor=self.actor, user_id=user_id)
        try:
            return self.act(request, user)
        except _REFUSALS as error:
            return self.page(user_id, error)

    def act(self, request: HttpRequest, user: User) -> HttpResponse:
        raise NotImplementedError

    def done(self, words: str, user: User) -> HttpResponse:
        messages.success(self.request, words)
        return redirect("user-detail", user_id=user.pk)


class UserRolesView(_UserAct):
    def act(self, request: HttpRequest, user: User) -> HttpResponse:
        roles_change(actor=self.actor, user_id=user.pk, roles=roles_typed(request))
        return self.done(gettext("The roles are changed. They count from the next page on."), user)


class UserPasswordView(_UserAct):
    def act(self, request: HttpRequest, user: User) -> HttpResponse:
        return self.link_page(*password_reset(actor=self.actor, user_id=user.pk), made=False)


class UserUnlockView(_UserAct):
    def act(self, request: HttpRequest, user: User) -> HttpResponse:
        lock_lift(actor=self.actor, user=user)
        return self.done(gettext("They may try to sign in again now."), user)


class UserFactorsView(_UserAct):
    def act(self, request: HttpRequest, user: User) -> HttpResponse:
        second_factor_reset(actor=self.actor, user=user)
        return self.done(
            gettext("Their second factors are taken away, and their sessions have ended."), user
        )


class UserCloseView(_UserAct):
    def act(self, request: HttpRequest, user: User) -> HttpResponse:
        account_close(actor=self.actor, user_id=user.pk)
        return self.done(
            gettext("The account is closed: its sessions and tokens have ended."), user
        )


class UserOpenView(_UserAct):
    def act(self, request: HttpRequest, user: User) -> HttpResponse:
        system = user.roles == {Role.INTEGRATION}
        user, key = account_open(actor=self.actor, user_id=user.pk, signs_in=not system)
        if key:
            return self.link_page(user, key, made=False)
        return self.done(gettext("The account is open again. Make it a new token."), user)


class UserMoveView(_UserAct):
    def act(self, request: HttpRequest, user: User) -> HttpResponse:
        try:
            site_id = UUID(request.POST.get("site", ""))
        except ValueError:
            raise FieldInvalid(errors={"site": [gettext("Choose another site.")]}) from None
        moved = user_move(actor=self.actor, user_id=user.pk, site_id=site_id)
        messages.success(
            request,
            gettext("%(user)s is at %(site)s now, without a role.")
            % {"user": moved.get_username(), "site": moved.site},
        )
        return redirect("user-list")
