"""Request ids: taken from a caller only where they are plain ids, and told back."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

from bcweb.errors import refused
from cases.errors import Overloaded
from cases.services.room import QueueIsFull, room_require

BELIEVED_S = 1.0
_PLAIN = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestIdMiddleware:
    """Give each request an id and return it as `X-Request-ID`.

    The id goes into logs, jobs and audit. A caller's header is free text that could carry a
    patient's name, so only plain ids of 8 to 64 characters are taken over.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _PLAIN.fullmatch(given) else str(uuid.uuid4())
        # django_structlog reads the header: hand it the checked one.
        request.META["HTTP_X_REQUEST_ID"] = request_id
        request.META["HTTP_X_CORRELATION_ID"] = ""
        request.__dict__.pop("headers", None)
        request.request_id = request_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class RoomMiddleware:
    """Refuse an upload at the door where there is no room for it: before a byte of it is read.

    Of views that say ``takes_uploads``. Anybody is refused, known or not: asking who it is costs
    more than the answer tells. Its priority is in the body: only where not even a stat image has
    room is everybody sent away here, the others by the service that takes them in.

    That the queue is full is believed for a second: it is asked when everybody sends again.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._full: tuple[float, QueueIsFull] | None = None

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        takes_uploads = getattr(getattr(view, "view_class", None), "takes_uploads", False)
        if request.method != "POST" or not takes_uploads:
            return None
        length = request.META.get("CONTENT_LENGTH") or ""
        if self._full is not None and time.monotonic() < self._full[0]:
            return refused(request, self._full[1])
        try:
            room_require(incoming=int(length) if length.isdecimal() else 0)
        except QueueIsFull as error:
            self._full = (time.monotonic() + BELIEVED_S, error)
            return refused(request, error)
        except Overloaded as error:
            return refused(request, error)
        return None


class RequestLogMiddleware(RequestMiddleware):
    """A log line per request, without its query: people search by accession number there."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {request.path}"
