"""Which language an answer is in: pages in the reader's, everything made for programs in English.

The REST API, the health checks and the metrics are read by programs: their words never change with
`Accept-Language`, so their answers neither depend on it nor say that they do.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.utils import translation

# What services, logs, the audit trail and the API are written in, and pages where nobody asked for
# another language.
ENGLISH = "en"
# By the names that their own readers know them by.
LANGUAGES = [(ENGLISH, "English"), ("de", "Deutsch")]
_FOR_PROGRAMS = ("/api/", "/healthz", "/readyz", "/metrics")


def settings_of(*, tls: bool) -> dict[str, Any]:
    """The settings of the choice that a browser keeps: a cookie with the flags of the session's."""
    return {
        "LANGUAGE_CODE": ENGLISH,
        "LANGUAGES": LANGUAGES,
        "USE_I18N": True,
        "FORMAT_MODULE_PATH": "bcweb.formats",
        "LANGUAGE_COOKIE_AGE": 365 * 24 * 3600,
        "LANGUAGE_COOKIE_HTTPONLY": True,
        "LANGUAGE_COOKIE_SAMESITE": "Lax",
        "LANGUAGE_COOKIE_SECURE": tls,
    }


class LanguageMiddleware(LocaleMiddleware):
    """The language chosen in this browser (a cookie), else the best one it asks for."""

    def process_request(self, request: HttpRequest) -> None:
        if request.path.startswith(_FOR_PROGRAMS):
            translation.activate(ENGLISH)
            request.LANGUAGE_CODE = ENGLISH
        else:
            super().process_request(request)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if request.path.startswith(_FOR_PROGRAMS):
            return response
        return super().process_response(request, response)
