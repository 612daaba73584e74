"""The addresses of signing in and of one's own account.

Names with an underscore are the library's: it leads to them by these.
"""

from __future__ import annotations

from allauth.mfa.webauthn.views import LoginWebAuthnView
from django.conf import settings
from django.urls import URLPattern, URLResolver, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from cases.portal.script_words import ScriptWordsView
from cases.portal.views.account import (
    AccountView,
    IdleView,
    SessionEndView,
    SessionsEndView,
    SignInView,
    SignOutView,
)
from cases.portal.views.factors import (
    AppAddView,
    AppRemoveView,
    ConfirmCodeView,
    ConfirmPasskeyView,
    ConfirmPasswordView,
    PasskeyAddView,
    PasskeyRemoveView,
    PasskeyRenameView,
    PasswordView,
    RecoveryCodesFileView,
    RecoveryCodesNewView,
    RecoveryCodesView,
    SecondFactorView,
)

to_account = RedirectView.as_view(pattern_name="account")

urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in/", SignInView.as_view(), name="sign-in"),
    # For the signed out as well: kept in a cookie of the browser.
    path("language/", set_language, name="set-language"),
    path(
        "language/<slug:language>-<slug:version>.js",
        ScriptWordsView.as_view(),
        name="script-words",
    ),
    path("sign-in/", SignInView.as_view(), name="account_login"),
    path("sign-in/code/", SecondFactorView.as_view(), name="mfa_authenticate"),
    path("sign-in/passkey/", LoginWebAuthnView.as_view(), name="mfa_login_webauthn"),
    path("sign-out/", SignOutView.as_view(), name="sign-out"),
    path("sign-out/", SignOutView.as_view(), name="account_logout"),
    path("account/", AccountView.as_view(), name="account"),
    path("account/idle/", IdleView.as_view(), name="account-idle"),
    path("account/sessions/end/", SessionsEndView.as_view(), name="sessions-end"),
    path("account/sessions/<int:session_id>/end/", SessionEndView.as_view(), name="session-end"),
    path("account/password/", PasswordView.as_view(), name="account_change_password"),
    path("account/confirm/", ConfirmPasswordView.as_view(), name="account_reauthenticate"),
    path("account/confirm/code/", ConfirmCodeView.as_view(), name="mfa_reauthenticate"),
    path(
        "account/confirm/passkey/",
        ConfirmPasskeyView.as_view(),
        name="mfa_reauthenticate_webauthn",
    ),
    path("account/app/", AppAddView.as_view(), name="mfa_activate_totp"),
    path("account/app/remove/", AppRemoveView.as_view(), name="mfa_deactivate_totp"),
    path("account/codes/", RecoveryCodesView.as_view(), name="mfa_view_recovery_codes"),
    path(
        "account/codes/file/", RecoveryCodesFileView.as_view(), name="mfa_download_recovery_codes"
    ),
    path("account/codes/new/", RecoveryCodesNewView.as_view(), name="mfa_generate_recovery_codes"),
    path("account/passkeys/add/", PasskeyAddView.as_view(), name="mfa_add_webauthn"),
    path("account/passkeys/<int:pk>/", PasskeyRenameView.as_view(), name="mfa_edit_webauthn"),
    path(
        "account/passkeys/<int:pk>/remove/", PasskeyRemoveView.as_view(), name="mfa_remove_webauthn"
    ),
    # Where the library goes back to.
    path("account/factors/", to_account, name="mfa_index"),
    path("account/passkeys/", to_account, name="mfa_list_webauthn"),
    path("account/social/", to_account, name="socialaccount_connections"),
]

if settings.BCWEB_ACCOUNTS.oidc_issuer:
    from cases.portal.sign_on_urls import urlpatterns as sign_on_urlpatterns

    urlpatterns += sign_on_urlpatterns
