"""The words of the scripts, as a script of its own: pages hold none (Content-Security-Policy)."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import translation
from django.utils.cache import patch_cache_control
from django.views.i18n import JavaScriptCatalog

DOMAIN = "djangojs"
A_YEAR = 365 * 24 * 3600


@cache
def version_of(language: str) -> str:
    """Changes when the words of ``language`` do."""
    words = hashlib.sha256()
    for folder in settings.LOCALE_PATHS:
        file = folder / language / "LC_MESSAGES" / f"{DOMAIN}.mo"
        words.update(file.read_bytes() if file.exists() else b"")
    return words.hexdigest()[:12]


def script_words_url() -> str:
    """Where a page gets the words for its scripts, in its own language."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    return reverse("script-words", args=[language, version_of(language)])


class ScriptWordsView(JavaScriptCatalog):
    """By language and version in the address, whatever the browser asks for: kept for a year."""

    domain = DOMAIN

    def get(
        self, request: HttpRequest, *args: Any, language: str, version: str, **kwargs: Any
    ) -> HttpResponse:
        if language not in dict(settings.LANGUAGES):
            raise Http404
        with translation.override(language):
            response: HttpResponse = super().get(request, *args, **kwargs)
        if version == version_of(language):
            patch_cache_control(response, private=True, max_age=A_YEAR, immutable=True)
        return response
