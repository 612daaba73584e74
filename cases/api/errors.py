"""Every error of the API as `application/problem+json` (RFC 9457) with the contract's codes."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from typing import Any

import structlog
from django.core.exceptions import (
    BadRequest,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.urls import reverse
from rest_framework import exceptions as drf
from rest_framework.request import Request

from cases import errors

log = structlog.get_logger(__name__)

PROBLEM_TYPE = "application/problem+json"
# Where an error says nothing else about when to come back.
OVERLOADED_RETRY_SECONDS = 5
AUTHENTICATE = 'Bearer realm="bcweb"'


class RequestMalformed(errors.UserFacingError):
    code = "request_malformed"
    status = 400
    title = "The request could not be read"
    default_detail = "The request could not be read. It may be cut off or not in its format."


class MethodNotAllowed(errors.UserFacingError):
    code = "method_not_allowed"
    status = 405
    title = "The method is not allowed here"
    default_detail = "This address does not take this method. The Allow header names those it does."


class NotAcceptable(errors.UserFacingError):
    code = "not_acceptable"
    status = 406
    title = "No such representation"
    default_detail = "This address cannot answer in a format your Accept header names."


class RequestTooLarge(errors.UserFacingError):
    code = "request_too_large"
    status = 413
    title = "The request is too large"
    default_detail = "The fields of the request are larger or more than this service accepts."


class MediaTypeUnsupported(errors.UserFacingError):
    code = "media_type_unsupported"
    status = 415
    title = "The media type of the request is not supported"
    default_detail = "This address does not read requests of this Content-Type."


class InternalError(errors.UserFacingError):
    code = "internal_error"
    status = 500
    title = "Something went wrong on our side"
    default_detail = "Something went wrong on our side. Tell your administrator the request id."


_OWN = (
    RequestMalformed,
    MethodNotAllowed,
    NotAcceptable,
    RequestTooLarge,
    MediaTypeUnsupported,
    InternalError,
)
ALL_ERRORS: dict[str, type[errors.UserFacingError]] = {
    **errors.ERRORS,
    **{cls.code: cls for cls in _OWN},
}
"""Every code the API may answer with."""


def problem_handler(exc: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's exception handler: any exception as a problem, never a traceback."""
    request: Request | None = context.get("request")
    error = user_facing(exc)
    _log(exc, error)
    response = problem_response(request, error)
    if error.status == 401:
        # RFC 6750, section 3.1: say so when a token was sent and is not good.
        bad_token = isinstance(exc, drf.AuthenticationFailed)
        response["WWW-Authenticate"] = AUTHENTICATE + (', error="invalid_token"' * bad_token)
    return response


def problem_response(
    request: Request | HttpRequest | None, error: errors.UserFacingError
) -> HttpResponse:
    """``error`` as JSON, whatever the client accepts: an error must always get through."""
    body: dict[str, Any] = {
        "type": reverse("api:error-type", args=[error.code]),
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": str(getattr(request, "request_id", "")),
    }
    if error.file is not None:
        body["file"] = error.file
    if error.errors:
        body["errors"] = error.errors
    response = JsonResponse(body, status=error.status, content_type=PROBLEM_TYPE)
    response["Cache-Control"] = "private, no-store"
    retry_after = error.retry_after
    if retry_after is None and error.status == 503:
        retry_after = OVERLOADED_RETRY_SECONDS
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def user_facing(exc: Exception) -> errors.UserFacingError:
    """What the client is told about ``exc``."""
    if isinstance(exc, errors.UserFacingError):
        return exc
    if isinstance(exc, drf.APIException):
        return _from_drf(exc)
    if isinstance(exc, Http404):
        return errors.NotFound()
    if isinstance(exc, DjangoPermissionDenied):
        return errors.PermissionDenied()
    if isinstance(exc, TooManyFilesSent):
        return errors.FieldInvalid(errors={"file": ["Too many files in one submission."]})
    if isinstance(exc, RequestDataTooBig | TooManyFieldsSent):
        return RequestTooLarge()
    if isinstance(exc, SuspiciousOperation | BadRequest):
        return RequestMalformed()
    if isinstance(exc, MultiPartParserError | UnreadablePostError):
        return RequestMalformed()
    if isinstance(exc, OperationalError | InterfaceError):
        # Away, out of connections, or a lock held too long: all pass.
        return errors.Overloaded()
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        # Where uploaded bytes are kept, or on their way there; nothing of the request is stored.
        return errors.Overloaded(retry_after=60)
    return InternalError()


def _from_drf(exc: drf.APIException) -> errors.UserFacingError:
    if isinstance(exc, drf.ValidationError):
        return errors.FieldInvalid(errors=dict(_flat(exc.detail)))
    if isinstance(exc, drf.ParseError):
        return RequestMalformed(str(exc.detail))
    if isinstance(exc, drf.AuthenticationFailed):
        return errors.NotAuthenticated(str(exc.detail))
    if isinstance(exc, drf.PermissionDenied) and str(exc.detail).startswith("CSRF"):
        return errors.PermissionDenied("The request lacks a valid CSRF token. Load the page again.")
    if isinstance(exc, drf.Throttled):
        wait = getattr(exc, "wait", None)
        return errors.Throttled(retry_after=int(wait) if wait else None)
    for kind, told in _DRF:
        if isinstance(exc, kind):
            return told()
    return InternalError()


_DRF: tuple[tuple[type[drf.APIException], type[errors.UserFacingError]], ...] = (
    (drf.NotAuthenticated, errors.NotAuthenticated),
    (drf.PermissionDenied, errors.PermissionDenied),
    (drf.NotFound, errors.NotFound),
    (drf.MethodNotAllowed, MethodNotAllowed),
    (drf.NotAcceptable, NotAcceptable),
    (drf.UnsupportedMediaType, MediaTypeUnsupported),
)


def _flat(detail: Any, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """A serializer's nested errors as field name (dotted where nested) and sentences."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        for index, item in enumerate(detail):
            yield from _flat(item, f"{name}.{index}" if name else str(index))
    else:
        sentences = detail if isinstance(detail, list) else [detail]
        yield name or "request", [str(sentence) for sentence in sentences]


def _log(exc: Exception, error: errors.UserFacingError) -> None:
    """Log what is our fault. Not the exception's text: a database error quotes row values."""
    if isinstance(error, InternalError):
        log.error(
            "api_error",
            error=f"{type(exc).__module__}.{type(exc).__qualname__}",
            traceback="".join(traceback.format_tb(exc.__traceback__)),
        )
    elif isinstance(exc, OSError):
        log.error("api_disk_full", error=type(exc).__name__)
    elif isinstance(exc, OperationalError | InterfaceError):
        log.warning("api_database", error=type(exc.__cause__ or exc).__name__)
