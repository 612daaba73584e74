"""Password, second factors and passkeys: the library's steps, on our pages.

What each step asks for (a fresh confirmation, an earlier step of signing in) is the library's.
"""

from __future__ import annotations

import json
from typing import Any

from allauth.account.views import PasswordChangeView, ReauthenticateView
from allauth.mfa.base import views as base
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes import views as recovery
from allauth.mfa.totp import views as totp
from allauth.mfa.utils import is_mfa_enabled
from allauth.mfa.webauthn import views as webauthn
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache

from cases.portal.adapters import FactorAdapter
from cases.portal.session import user_of


def with_options(context: dict[str, Any]) -> dict[str, Any]:
    """What the browser is asked for a passkey, as an attribute: no inline data by the policy."""
    asked = context.get("js_data")
    return {**context, "passkey_options": json.dumps(asked, cls=DjangoJSONEncoder) if asked else ""}


own_page = method_decorator([never_cache, login_required], name="dispatch")
ACCOUNT = reverse_lazy("account")


@own_page
class PasswordView(PasswordChangeView):
    template_name = "account/password.html"
    success_url = ACCOUNT

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not user_of(request).has_usable_password():
            messages.error(
                request, gettext("Your account has no password: you sign in another way.")
            )
            return redirect("account")
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response

    def get_default_success_url(self) -> str:
        return reverse("account")


@own_page
class ConfirmPasswordView(ReauthenticateView):
    template_name = "account/confirm.html"


@own_page
class ConfirmCodeView(base.ReauthenticateView):
    template_name = "account/confirm_code.html"


@own_page
class ConfirmPasskeyView(webauthn.ReauthenticateWebAuthnView):
    template_name = "account/confirm_passkey.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return with_options(super().get_context_data(**kwargs))

    def form_invalid(self, form: Any) -> HttpResponse:
        for sentence in form.errors.get("credential", []):
            messages.error(self.request, sentence)
        return redirect(self.request.get_full_path())


class SecondFactorView(base.AuthenticateView):
    """The second step of signing in. Nobody is signed in yet."""

    template_name = "account/second_factor.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.stage.login.user
        return {
            **with_options(super().get_context_data(**kwargs)),
            "has_app": is_mfa_enabled(user, [Authenticator.Type.TOTP]),
            "has_passkey": is_mfa_enabled(user, [Authenticator.Type.WEBAUTHN]),
        }


@own_page
class AppAddView(totp.ActivateTOTPView):
    template_name = "account/app_add.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        secret = context["form"].secret
        # In groups of four, as people copy it.
        groups = [secret[at : at + 4] for at in range(0, len(secret), 4)]
        return {**context, "secret": " ".join(groups)}

    def get_success_url(self) -> str:
        made = self.did_generate_recovery_codes
        return reverse("mfa_view_recovery_codes" if made else "account")


@own_page
class AppRemoveView(totp.DeactivateTOTPView):
    template_name = "account/app_remove.html"
    success_url = ACCOUNT


@own_page
class RecoveryCodesView(recovery.ViewRecoveryCodesView):
    template_name = "account/recovery_codes.html"


@own_page
class RecoveryCodesFileView(recovery.DownloadRecoveryCodesView):
    template_name = "account/recovery_codes.txt"


@own_page
class RecoveryCodesNewView(recovery.GenerateRecoveryCodesView):
    template_name = "account/recovery_codes_new.html"


@own_page
class PasskeyAddView(webauthn.AddWebAuthnView):
    template_name = "account/passkey_add.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return with_options(super().get_context_data(**kwargs))

    def get_success_url(self) -> str:
        made = self.did_generate_recovery_codes
        return reverse("mfa_view_recovery_codes" if made else "account")


@own_page
class PasskeyRenameView(webauthn.EditWebAuthnView):
    template_name = "account/passkey_rename.html"
    success_url = ACCOUNT


@own_page
class PasskeyRemoveView(webauthn.RemoveWebAuthnView):
    """Refused where a role asks for a second factor and this is the only one."""

    template_name = "account/passkey_remove.html"
    success_url = ACCOUNT

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        passkey = self.get_queryset().filter(pk=kwargs["pk"]).first()
        adapter = FactorAdapter()
        if passkey is not None and not adapter.can_delete_authenticator(passkey):
            messages.error(request, adapter.error_messages["cannot_delete_authenticator"])
            return redirect("account")
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response
