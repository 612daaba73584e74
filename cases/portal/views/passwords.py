"""Choosing a password by the one-time link an administrator handed over."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from cases.errors import FieldInvalid
from cases.portal.errors import user_facing
from cases.services.sign_in_links import LinkEnded, link_user, password_choose


@method_decorator(never_cache, name="dispatch")
@method_decorator(sensitive_post_parameters(), name="dispatch")
class PasswordChooseView(View):
    """For who is not signed in: the key in the query says who they are. Looking uses nothing up."""

    http_method_names = ["get", "head", "post", "options"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            self.user_id = UUID(request.GET.get("user", ""))
        except ValueError:
            return user_facing(request, LinkEnded())
        self.key = request.GET.get("key", "")[:200]
        try:
            return super().dispatch(request, *args, **kwargs)
        except LinkEnded as error:
            return user_facing(request, error)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page({"account": link_user(user_id=self.user_id, key=self.key)})

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            user = password_choose(
                user_id=self.user_id,
                key=self.key,
                password=request.POST.get("password", ""),
                again=request.POST.get("again", ""),
            )
        except FieldInvalid as error:
            user = link_user(user_id=self.user_id, key=self.key)
            return self.page({"account": user, "errors": error.errors}, status=error.status)
        return self.page({"account": user, "done": True})

    def page(self, context: dict[str, object], *, status: int = 200) -> HttpResponse:
        response = render(self.request, "account/password_choose.html", context, status=status)
        # The address holds the key: nobody is told where one came from.
        response.headers["Referrer-Policy"] = "strict-origin"
        return response
