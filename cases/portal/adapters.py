"""What django-allauth asks of us: who may sign in, in which words, and how secrets are kept."""

from __future__ import annotations

import math
import time
from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext, gettext_lazy, ngettext

from cases.errors import PermissionDenied, Throttled
from cases.models import User
from cases.portal.errors import user_facing
from cases.portal.session import actor_of
from cases.selectors.accounts import factors_of, has_sign_on, needs_second_factor
from cases.selectors.people import user_named
from cases.services.accounts import password_change
from cases.services.factor_secrets import secret_open, secret_seal
from cases.services.lockout import (
    Attempt,
    attempt_begin,
    attempt_failed,
    attempt_succeeded,
    name_key,
)
from cases.services.sign_on import sign_on_note
from cases.vocabulary import LockKind

# Where nobody knows where a request comes from (a server on a socket without a proxy).
NO_ADDRESS = "::"


def locked_out(error: Throttled) -> ValidationError:
    """The refusal of a lock-out as a sentence beside a form: the same for every user name."""
    minutes = math.ceil((error.retry_after or 60) / 60)
    wait = ngettext("a minute", "{minutes} minutes", minutes).format(minutes=minutes)
    return ValidationError(
        gettext(
            "Too many failed attempts. Wait {wait} and try again, or ask an administrator to let "
            "you try now."
        ).format(wait=wait),
        code="locked_out",
    )


def request_id_of(request: HttpRequest | None) -> str:
    return str(getattr(request, "request_id", ""))


class AccountAdapter(DefaultAccountAdapter):
    """Accounts are made by administrators; nothing is mailed; failures are counted by us."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        # The same for a wrong name, a wrong password and a closed account.
        "username_password_mismatch": gettext_lazy(
            "User name and password do not match. Check both; the password is case-sensitive."
        ),
        "incorrect_password": gettext_lazy(
            "This is not your password. Check it; it is case-sensitive."
        ),
        "enter_current_password": gettext_lazy("This is not your present password."),
    }
    _attempt: Attempt | None = None

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        if not request.META.get("REMOTE_ADDR"):
            return NO_ADDRESS
        return str(super().get_client_ip(request))

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        keys = {
            LockKind.NAME: name_key(str(credentials.get("username", ""))),
            LockKind.ADDRESS: self.get_client_ip(request),
        }
        try:
            self._attempt = attempt_begin(keys=keys)
        except Throttled as error:
            raise locked_out(error) from error

    def _rollback_login_failed_rl_usage(self) -> None:
        """Called by the library when the password was right."""
        if self._attempt is not None:
            attempt_succeeded(attempt=self._attempt)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        if self._attempt is not None:
            user = user_named(username=str(credentials.get("username", "")))
            attempt_failed(attempt=self._attempt, user=user, request_id=request_id_of(request))

    def set_password(self, user: Any, password: str) -> None:
        request = context.request
        actor = actor_of(request)
        if actor is None:
            raise PermissionDenied()
        key = request.session.session_key
        password_change(actor=actor, user=user, password=password, keep=key)

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        messages.error(
            request, gettext("This account is closed. Ask an administrator of your site.")
        )
        return redirect("sign-in")

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Who signed in or confirmed a few minutes ago need not do it again."""
        request = context.request
        records = get_authentication_records(request, request.user)
        if not records:
            return True
        return bool(
            super().is_reauthentication_required(app=app, **kwargs)
            and time.time() - records[-1]["at"] >= app_settings.REAUTHENTICATION_TIMEOUT
        )


class FactorAdapter(DefaultMFAAdapter):
    """Second factors: sealed secrets, and none taken away that a role asks for."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        # Of passkeys; codes have a sentence of their own.
        "incorrect_code": gettext_lazy(
            "The passkey does not fit. Try again, or sign in another way."
        ),
        "cannot_delete_authenticator": gettext_lazy(
            "Your role asks for a second factor, and this is your only one. Add another one first."
        ),
    }

    def encrypt(self, text: str) -> str:
        return secret_seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return secret_open(encrypted_text)

    def get_totp_issuer(self) -> str:
        return "bcweb"

    def _get_site_name(self) -> str:
        return "bcweb"

    def generate_authenticator_name(self, user: Any, type: Any) -> str:
        return gettext("Passkey {number}").format(number=len(factors_of(user=user).passkeys) + 1)

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        user = authenticator.user
        if not isinstance(user, User) or not needs_second_factor(user=user):
            return True
        factors = factors_of(user=user)
        return len(factors.passkeys) + (factors.app is not None) > 1


def claimed_name(told: dict[str, Any], claim: str) -> str:
    """The user name the issuer claims; "" where it claims none.

    The library keeps what the token said apart from what the issuer told when asked. Both must
    be of the same subject (OpenID Connect Core 5.3.2), or one could be read for the other.
    """
    parts = [part for part in (told.get("id_token"), told.get("userinfo")) if part]
    if len({str(part.get("sub")) for part in parts}) != 1:
        return ""
    return next((str(part[claim]) for part in parts if part.get(claim)), "")


class SignOnAdapter(DefaultSocialAccountAdapter):
    """Single sign-on: for users whom an administrator has made under the issuer's name of them."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """The first time: link the issuer's subject with the user who has the claimed name."""
        if sociallogin.is_existing:
            return
        told = settings.BCWEB_ACCOUNTS
        name = claimed_name(sociallogin.account.extra_data, told.oidc_claim)
        user = user_named(username=name) if name else None
        # Who has a subject already keeps that one: a name that the issuer gave anew is nobody's.
        provider = sociallogin.account.provider
        taken = user is not None and has_sign_on(user=user, provider=provider)
        if user is None or taken or not user.is_active or user.is_demo:
            refusal = PermissionDenied(
                gettext(
                    "Nobody is known here by the name that {name} gave. Ask an "
                    "administrator of your site to add you."
                ).format(name=told.oidc_name)
            )
            raise ImmediateHttpResponse(user_facing(request, refusal))
        sociallogin.connect(request, user)
        sign_on_note(user=user, request_id=request_id_of(request))
