"""Errors that no view caught: a page for people, a problem for clients of the API."""

from __future__ import annotations

import sys
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext

from cases import errors
from cases.api.errors import RequestMalformed, problem_response, user_facing
from cases.portal import errors as pages
from cases.told import told


def _of_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def bad_request(request: HttpRequest, exception: Any = None) -> HttpResponse:
    if _of_api(request):
        return problem_response(request, RequestMalformed())
    return pages.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Any = None) -> HttpResponse:
    if _of_api(request):
        return problem_response(request, errors.PermissionDenied())
    return pages.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    if _of_api(request):
        return problem_response(request, errors.NotFound())
    return pages.not_found(request, exception)


def refused(request: HttpRequest, error: errors.UserFacingError) -> HttpResponse:
    """An answer before any view: with ``Retry-After`` where the error tells when to come back."""
    if _of_api(request):
        return problem_response(request, error)
    kept = gettext("Go back in your browser: what you typed is still there.")
    detail = f"{told(error.detail)} {kept}"
    response = pages.error_page(request, status=error.status, title=error.title, detail=detail)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Called while the exception is handled; for the API a database that is away is 503."""
    exception = sys.exc_info()[1]
    if _of_api(request):
        known = exception if isinstance(exception, Exception) else Exception()
        return problem_response(request, user_facing(known))
    return pages.server_error(request)
