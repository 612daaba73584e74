"""From an answered request to a waiting connection, without a thread that waits.

gunicorn gives its socket to the application (`gunicorn.socket`, for WebSockets) and closes it when
the application is done. Here the connection is taken out of that socket, so that what is closed is
an empty one, and given to the hub (docs/adr/0016). A server that gives no socket, or speaks TLS or
HTTP/2 on it, sends the answer as it is: a snapshot, after which the client asks again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.handlers import format_date_time
from wsgiref.types import StartResponse, WSGIEnvironment

from django.utils import timezone

from cases.events.hub import hub
from cases.events.response import EventStream

Wsgi = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


class HandOver:
    """Django's application, whose answers of type ``EventStream`` go on in the hub."""

    def __init__(self, application: Wsgi) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        told: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            told[:] = [(status, headers)]
            return start_response(status, headers, exc_info)

        response = self._application(environ, start)
        connection = environ.get("gunicorn.socket")
        if (
            connection is None
            or not isinstance(response, EventStream)
            or not _can_be_taken(connection, environ)
        ):
            return response
        seat = response.take_seat()
        if seat is None:
            return response
        status, headers = told[0]
        head = _head(status, headers) + response.content
        # Ends the request for Django, which lets go of its database connection.
        response.close()
        hub().attach(seat, _taken(connection), head)
        # gunicorn's own word for "this connection is done with": nothing was sent yet.
        raise StopIteration


def _can_be_taken(connection: Any, environ: WSGIEnvironment) -> bool:
    # Exactly: an SSLSocket is one too, and keeps its state to itself.
    plain = type(connection) is socket.socket and environ.get("HTTP_VERSION") != "2"
    # HEAD asks what the answer would look like, and not for events.
    return plain and environ["REQUEST_METHOD"] == "GET"


def _taken(connection: socket.socket) -> socket.socket:
    """The connection in a socket of its own; in ``connection`` there is an empty one.

    A copy alone would not do: gunicorn shuts down what it closes, for all who hold it.
    """
    taken = socket.socket(fileno=os.dup(connection.fileno()))
    with socket.socket(taken.family, taken.type) as empty:
        os.dup2(empty.fileno(), connection.fileno(), inheritable=False)
    taken.setblocking(False)
    return taken


def _head(status: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of an answer whose body ends with the connection."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Date: {format_date_time(timezone.now().timestamp())}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers if name.lower() != "content-length"),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
