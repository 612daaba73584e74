"""Settings of signing in: lock-out, second factors, idle sessions, single sign-on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import environs
from django.core.exceptions import ImproperlyConfigured
from marshmallow import validate

from cases.access import Role

APPS = (
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    # Always there, so that the tables are the same with single sign-on and without.
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
)
PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
OIDC_PROVIDER = "sso"
REAUTHENTICATION_SECONDS = 300


@dataclass(frozen=True)
class AccountSettings:
    """What docs/operations.md lists under "Signing in"."""

    lockout_failures: int
    lockout_address_failures: int
    lockout_minutes: int
    idle_minutes: int
    second_factor_roles: tuple[str, ...]
    oidc_issuer: str
    oidc_client_id: str
    oidc_secret: str
    oidc_name: str
    oidc_claim: str
    oidc_second_factor: bool


def declare(env: environs.Env, *, demo: bool) -> AccountSettings:
    """Read the variables; wrong ones are named when the environment is sealed.

    The demo's users sign in with a password alone, or nobody could try it at once.
    """
    roles = env.list(
        "BCWEB_SECOND_FACTOR_ROLES",
        default=[] if demo else [Role.ADMIN.value, Role.APPROVER.value],
        validate=validate.ContainsOnly([role.value for role in Role]),
    )
    return AccountSettings(
        lockout_failures=env.int(
            "BCWEB_LOCKOUT_FAILURES", default=5, validate=validate.Range(3, 100)
        ),
        lockout_address_failures=env.int(
            "BCWEB_LOCKOUT_ADDRESS_FAILURES", default=50, validate=validate.Range(3, 100_000)
        ),
        lockout_minutes=env.int(
            "BCWEB_LOCKOUT_MINUTES", default=15, validate=validate.Range(1, 1440)
        ),
        idle_minutes=env.int("BCWEB_IDLE_MINUTES", default=15, validate=validate.Range(1, 1440)),
        second_factor_roles=tuple(roles or ()),
        oidc_issuer=env.str("BCWEB_OIDC_ISSUER", default=""),
        oidc_client_id=env.str("BCWEB_OIDC_CLIENT_ID", default=""),
        oidc_secret=env.str("BCWEB_OIDC_SECRET", default=""),
        oidc_name=env.str("BCWEB_OIDC_NAME", default="single sign-on"),
        oidc_claim=env.str(
            "BCWEB_OIDC_CLAIM",
            default="preferred_username",
            validate=validate.Regexp(r"^[A-Za-z0-9_.:/-]{1,100}\Z"),
        ),
        oidc_second_factor=env.bool("BCWEB_OIDC_SECOND_FACTOR", default=False),
    )


def check(told: AccountSettings) -> None:
    """Raise ``ImproperlyConfigured`` for single sign-on that is told by halves."""
    parts = (told.oidc_issuer, told.oidc_client_id, told.oidc_secret)
    if not any(parts):
        return
    if not all(parts):
        raise ImproperlyConfigured(
            "BCWEB_OIDC_ISSUER, BCWEB_OIDC_CLIENT_ID, BCWEB_OIDC_SECRET: all three or none"
        )
    issuer = urlsplit(told.oidc_issuer)
    local = issuer.hostname in ("localhost", "127.0.0.1", "::1")
    if not issuer.hostname or issuer.scheme not in (("https", "http") if local else ("https",)):
        raise ImproperlyConfigured("BCWEB_OIDC_ISSUER: must begin with https://")


def form_targets(told: AccountSettings) -> list[str]:
    """Where forms may lead besides our own pages: to the issuer's, and nowhere else."""
    if not told.oidc_issuer:
        return []
    issuer = urlsplit(told.oidc_issuer)
    return [f"{issuer.scheme}://{issuer.netloc}"]


def oidc_apps(told: AccountSettings) -> list[dict[str, Any]]:
    """The one provider, as the library wants it; none where single sign-on is off."""
    if not told.oidc_issuer:
        return []
    return [
        {
            "provider_id": OIDC_PROVIDER,
            "name": told.oidc_name,
            "client_id": told.oidc_client_id,
            "secret": told.oidc_secret,
            "settings": {"server_url": told.oidc_issuer, "token_auth_method": "client_secret_post"},
        }
    ]


def library_settings(told: AccountSettings, *, behind_proxy: bool) -> dict[str, Any]:
    """What django-allauth is told. Failures are counted by our own service (ADR 13), not by it."""
    forms = "cases.portal.account_forms"
    return {
        "AUTH_PASSWORD_VALIDATORS": PASSWORD_VALIDATORS,
        "ALLAUTH_TRUSTED_PROXY_COUNT": 1 if behind_proxy else 0,
        "ACCOUNT_ADAPTER": "cases.portal.adapters.AccountAdapter",
        "ACCOUNT_FORMS": {
            "login": f"{forms}.SignInForm",
            "change_password": f"{forms}.PasswordForm",
        },
        "ACCOUNT_LOGIN_METHODS": {"username"},
        "ACCOUNT_SIGNUP_FIELDS": ["username*", "password1*"],
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        # The cookie's life; how long a session counts is ours to say (bcweb.session_rules).
        "ACCOUNT_SESSION_REMEMBER": True,
        "ACCOUNT_RATE_LIMITS": False,
        "ACCOUNT_REAUTHENTICATION_TIMEOUT": REAUTHENTICATION_SECONDS,
        "MFA_ADAPTER": "cases.portal.adapters.FactorAdapter",
        "MFA_FORMS": {
            "authenticate": f"{forms}.CodeForm",
            "reauthenticate": f"{forms}.ConfirmCodeForm",
            "activate_totp": f"{forms}.AuthenticatorAppForm",
        },
        "MFA_SUPPORTED_TYPES": ["totp", "webauthn", "recovery_codes"],
        "MFA_PASSKEY_LOGIN_ENABLED": True,
        # Addresses that single sign-on tells are used for nothing, so nobody verifies them.
        "MFA_ALLOW_UNVERIFIED_EMAIL": True,
        "MFA_TOTP_ISSUER": "bcweb",
        # Clocks of phones may be half a minute off.
        "MFA_TOTP_TOLERANCE": 1,
        "MFA_RATE_LIMITS": False,
        "SOCIALACCOUNT_ADAPTER": "cases.portal.adapters.SignOnAdapter",
        "SOCIALACCOUNT_AUTO_SIGNUP": False,
        "SOCIALACCOUNT_STORE_TOKENS": False,
        "SOCIALACCOUNT_PROVIDERS": {
            "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": oidc_apps(told)}
        },
    }
