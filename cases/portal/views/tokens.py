"""Access tokens: one's own, and for administrators those of the site's systems."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext

from cases.access import TOKEN_CAPABILITIES, Capability, Scope, useful_scopes
from cases.errors import FieldInvalid, StateConflict, UserFacingError
from cases.models import User
from cases.portal.staff import TokenLine, scope_words, token_form
from cases.portal.views.base import PortalView
from cases.portal.views.people import typed
from cases.selectors.staff import (
    systems_of_site,
    token_get,
    token_standing,
    tokens_of_site,
    tokens_own,
)
from cases.services.people import token_create, token_revoke


class TokenListView(PortalView):
    """The list, with the form for another one; POST makes it and shows it, this once."""

    any_of = TOKEN_CAPABILITIES
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        owner = request.GET.get("owner", "")
        return self.page({"owner": owner} if owner in map(str, self.owners()) else None)

    def post(self, request: HttpRequest) -> HttpResponse:
        told = typed(request, "owner", "token_name", "days")
        chosen = request.POST.getlist("scopes")
        try:
            owner = self.owners().get(told["owner"])
            if owner is None:
                raise FieldInvalid(errors={"owner": [gettext("Choose whose token it is.")]})
            token, secret = token_create(
                actor=self.actor,
                user=owner,
                name=told["token_name"],
                scopes=[Scope(value) for value in chosen if value in set(Scope)],
                days=int(told["days"]) if told["days"].isascii() and told["days"].isdigit() else 0,
            )
        except (FieldInvalid, StateConflict) as error:
            # The service speaks of a name; the page has two.
            if error.errors and "name" in error.errors:
                error.errors["token_name"] = error.errors.pop("name")
            return self.page(told, chosen, error, status=error.status)
        context = {
            "token": token,
            "secret": secret,
            "scopes": scope_words(token.scopes),
            "manages": self.can(Capability.MANAGE_USERS),
        }
        return render(request, "people/token_secret.html", context)

    def owners(self) -> dict[str, User]:
        """Whom a token can be made for, by id: first oneself."""
        me = self.request.user
        assert isinstance(me, User)
        systems = systems_of_site(actor=self.actor) if self.can(Capability.MANAGE_USERS) else []
        return {str(user.pk): user for user in (me, *systems)}

    def page(
        self,
        told: dict[str, str] | None = None,
        chosen: list[str] | None = None,
        error: UserFacingError | None = None,
        *,
        status: int = 200,
    ) -> HttpResponse:
        owners = list(self.owners().values())
        scopes = {scope for user in owners for scope in useful_scopes(user.roles)}
        form = token_form(
            [scope for scope in Scope if scope in scopes], owners, told, chosen or (), error
        )
        context: dict[str, Any] = {
            "form": form,
            "mine": [TokenLine(standing) for standing in tokens_own(actor=self.actor)],
            "manages": self.can(Capability.MANAGE_USERS),
        }
        if self.can(Capability.MANAGE_USERS):
            context["others"] = [TokenLine(s) for s in tokens_of_site(actor=self.actor)]
        return render(self.request, "people/token_list.html", context, status=status)


class TokenRevokeView(PortalView):
    """What would stop working, asked once more; POST does it."""

    any_of = TOKEN_CAPABILITIES
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest, token_id: UUID) -> HttpResponse:
        standing = token_standing(actor=self.actor, token_id=token_id)
        context = {
            "line": TokenLine(standing),
            "token": standing.token,
            "manages": self.can(Capability.MANAGE_USERS),
        }
        return render(request, "people/token_revoke.html", context)

    def post(self, request: HttpRequest, token_id: UUID) -> HttpResponse:
        token = token_get(actor=self.actor, token_id=token_id)
        token_revoke(actor=self.actor, token_id=token.pk)
        messages.success(
            request,
            gettext("The token %(name)s is revoked and of no use any more.") % {"name": token.name},
        )
        return redirect("token-list")
