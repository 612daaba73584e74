"""The forms of signing in and of an account: the library's, with our counting and our words."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter as account_adapter
from allauth.account.forms import ChangePasswordForm, LoginForm
from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from cases.errors import Throttled
from cases.portal.adapters import locked_out, request_id_of
from cases.services.accounts import second_factor_code_use, second_factor_refused
from cases.services.lockout import attempt_begin, attempt_failed, attempt_succeeded
from cases.vocabulary import LockKind

WRONG_CODE = gettext_lazy(
    "This code is not right, or was used before. Wait for the next one and try again."
)


class SignInForm(LoginForm):
    """The user name's field is called so on the page, as browsers and password managers know."""

    def add_prefix(self, field_name: str) -> str:
        return "username" if field_name == "login" else str(super().add_prefix(field_name))


class PasswordForm(ChangePasswordForm):
    """Wrong guesses of the present password count like those at the sign-in page."""

    def clean_oldpassword(self) -> str:
        typed = str(self.cleaned_data["oldpassword"])
        if not account_adapter(context.request).reauthenticate(self.user, typed):
            raise account_adapter().validation_error("enter_current_password")
        return typed


def _use_code(form: Any) -> str:
    """The typed code, used up; ``form.authenticator`` is whose it was. Refused after failures."""
    code = str(form.cleaned_data["code"])
    request_id = request_id_of(context.request)
    try:
        attempt = attempt_begin(keys={LockKind.FACTOR: str(form.user.pk)})
    except Throttled as error:
        raise locked_out(error) from error
    factor = second_factor_code_use(user=form.user, code=code)
    if factor is None:
        second_factor_refused(user=form.user, request_id=request_id)
        attempt_failed(attempt=attempt, user=form.user, request_id=request_id)
        raise ValidationError(WRONG_CODE, code="incorrect_code")
    attempt_succeeded(attempt=attempt)
    factor.user = form.user
    form.authenticator = factor
    return code


class CodeForm(AuthenticateForm):
    """The code of the second step of signing in: of an app, or a recovery code."""

    def clean_code(self) -> str:
        return _use_code(self)


class ConfirmCodeForm(ReauthenticateForm):
    """The same, to confirm that it is still you."""

    def clean_code(self) -> str:
        return _use_code(self)


class AuthenticatorAppForm(ActivateTOTPForm):
    """The first code of a new app: what was typed with spaces is as good."""

    def clean_code(self) -> str:
        self.cleaned_data["code"] = "".join(self.cleaned_data["code"].split())
        try:
            return str(super().clean_code())
        except ValidationError as error:
            raise ValidationError(WRONG_CODE, code="incorrect_code") from error
