"""Messages between the worker and its engine process: a JSON header and raw bytes.

Never pickle: the engine decodes untrusted pictures, and what a broken-in engine sends must not
become code in the worker that holds the database connection.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

_LENGTH = struct.Struct("!I")
# A header is names and numbers; a blob is one picture or one heatmap.
MAX_HEADER = 4 * 1024 * 1024
MAX_BLOB = 1024 * 1024 * 1024


class WireClosedError(ConnectionError):
    """The other side is gone, or sent something that is not a message."""


def send(sock: socket.socket, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Send one message. Raises ``OSError`` where the other side is gone."""
    head = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}).encode()
    sock.sendall(_LENGTH.pack(len(head)) + head)
    for blob in blobs:
        sock.sendall(blob)


def receive(
    sock: socket.socket, wait: Callable[[], None] = lambda: None
) -> tuple[dict[str, Any], list[bytes]]:
    """The next message. ``wait`` is called before each read and may raise to give up."""
    size = _LENGTH.unpack(_exactly(sock, _LENGTH.size, wait))[0]
    if size > MAX_HEADER:
        raise WireClosedError("header too long")
    try:
        header = json.loads(_exactly(sock, size, wait))
        lengths = [int(length) for length in header.pop("blobs")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireClosedError("not a message") from error
    if any(not 0 <= length <= MAX_BLOB for length in lengths):
        raise WireClosedError("blob too long")
    return header, [_exactly(sock, length, wait) for length in lengths]


def _exactly(sock: socket.socket, size: int, wait: Callable[[], None]) -> bytes:
    data = bytearray()
    while len(data) < size:
        wait()
        piece = sock.recv(min(size - len(data), 1024 * 1024))
        if not piece:
            raise WireClosedError("closed")
        data += piece
    return bytes(data)
