"""How operations are described: one decorator for `extend_schema` and the errors all share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from cases.api.errors import PROBLEM_TYPE
from cases.api.serializers.problems import ProblemSerializer

_REASONS: dict[int | str, str] = {
    400: "The request could not be read.",
    401: "No valid token, and no session.",
    403: "The role or token does not allow this.",
    404: "Nothing there, or it belongs to another site.",
    405: "The method is not allowed here.",
    406: "No representation the Accept header names.",
    409: "Not possible in the present state, or a conflict with what is stored.",
    410: "The data was erased.",
    413: "A file or the request is too large.",
    415: "The format of the file or request is not supported.",
    422: "Parameters, fields or files are not valid.",
    429: "Too many requests.",
    500: "A fault on our side.",
    503: "Busy, or a part of the service is down. Retry-After says when to come back.",
    "default": "Any other error.",
}
_ALWAYS = (400, 401, 403, 405, 406, 429, 500, 503)
NOT_MODIFIED = {304: OpenApiResponse(description="Unchanged since the ETag in If-None-Match.")}
PNG = OpenApiResponse(OpenApiTypes.BINARY, description="The picture.")


def operation(
    *,
    summary: str,
    success: dict[Any, Any],
    errors: Sequence[int] = (),
    parameters: Sequence[Any] = (),
    description: str = "",
    **more: Any,
) -> Callable[[Any], Any]:
    """`extend_schema` with the errors any operation may answer with, and those named."""
    responses = dict(success)
    statuses: list[int | str] = [*sorted({*errors, *_ALWAYS}), "default"]
    for status in statuses:
        responses[(status, PROBLEM_TYPE)] = OpenApiResponse(
            ProblemSerializer, description=_REASONS[status]
        )
    return extend_schema(
        summary=summary,
        description=description,
        responses=responses,
        parameters=[*parameters, *_error_headers()],
        **more,
    )


def response_header(name: str, description: str, statuses: Sequence[int]) -> OpenApiParameter:
    """A header of the responses with these statuses."""
    return OpenApiParameter(
        name=name,
        type=OpenApiTypes.STR,
        location=OpenApiParameter.HEADER,
        description=description,
        response=list(statuses),
    )


def _error_headers() -> list[OpenApiParameter]:
    return [
        response_header("WWW-Authenticate", "Bearer, and what is wrong with the token.", [401]),
        response_header("Retry-After", "Seconds.", [429, 503]),
    ]


IF_NONE_MATCH = OpenApiParameter(
    name="If-None-Match",
    type=OpenApiTypes.STR,
    location=OpenApiParameter.HEADER,
    description="ETags of earlier answers.",
)
ETAG = response_header("ETag", "Names this state of the answer.", [200, 304])
CONDITIONAL = (IF_NONE_MATCH, ETAG)
POLL = (
    *CONDITIONAL,
    response_header("Retry-After", "Seconds until the next poll, while unfinished.", [200, 304]),
)


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "cases.api.authentication.BearerTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "cases.api.authentication.PortalSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The portal's session; writes need its CSRF token (X-CSRFToken).",
        }
