"""Error pages: a sentence and a reference, never a traceback."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext

from cases.errors import NotFound, PermissionDenied, UserFacingError


def error_page(request: HttpRequest, *, status: int, title: str, detail: str) -> HttpResponse:
    context = {
        "title": title,
        "detail": detail,
        "reference": getattr(request, "request_id", ""),
    }
    return render(request, "errors/error.html", context, status=status)


def user_facing(request: HttpRequest, error: UserFacingError) -> HttpResponse:
    return error_page(request, status=error.status, title=error.title, detail=error.detail)


def bad_request(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return error_page(
        request,
        status=400,
        title=gettext("The request could not be read"),
        detail=gettext("Go back, load the page again and repeat the step."),
    )


def permission_denied(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return user_facing(request, PermissionDenied())


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return user_facing(request, NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    return error_page(
        request,
        status=500,
        title=gettext("Something went wrong on our side"),
        detail=gettext(
            "What you sent before is safe. Tell your administrator the reference below."
        ),
    )
