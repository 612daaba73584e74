"""The addresses of single sign-on: there only where an issuer is set.

The address to register with the issuer is ``<BCWEB_URL>/oidc/sso/login/callback/``.
"""

from __future__ import annotations

from allauth.socialaccount.providers.openid_connect.urls import urlpatterns as library
from django.urls import URLPattern, URLResolver, path

from cases.portal.views.sign_on import SignOnCancelledView, SignOnFailedView, to_sign_in

urlpatterns: list[URLPattern | URLResolver] = [
    *library,
    path("oidc/cancelled/", SignOnCancelledView.as_view(), name="socialaccount_login_cancelled"),
    path("oidc/failed/", SignOnFailedView.as_view(), name="socialaccount_login_error"),
    path("oidc/sign-up/", to_sign_in, name="socialaccount_signup"),
]
