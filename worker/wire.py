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
# Cells of a heatmap along a side; it has three maps of two bytes a cell.
MAX_HEATMAP_SIDE = 64
MAX_HEATMAP = 3 * MAX_HEATMAP_SIDE**2 * 2


class WireClosedError(ConnectionError):
    """The other side is gone, or sent something that is not a message."""


def send(
    sock: socket.socket,
    header: dict[str, Any],
    blobs: Sequence[bytes] = (),
    wait: Callable[[], None] = lambda: None,
) -> None:
    """Send one message. ``wait`` is called before each part and may raise to give up.

    Raises ``OSError`` where the other side is gone.
    """
    head = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}).encode()
    for part in (_LENGTH.pack(len(head)) + head, *blobs):
        wait()
        sock.sendall(part)


def receive(
    sock: socket.socket,
    wait: Callable[[], None] = lambda: None,
    *,
    max_blobs: int | None = None,
    max_blob: int = MAX_BLOB,
) -> tuple[dict[str, Any], list[bytes]]:
    """The next message. ``wait`` is called before each read and may raise to give up.

    Raises ``WireClosedError``, before any of them is read, where there are more than
    ``max_blobs`` blobs (None: any number) or one is of more than ``max_blob`` bytes.
    """
    size = _LENGTH.unpack(_exactly(sock, _LENGTH.size, wait))[0]
    if size > MAX_HEADER:
        raise WireClosedError("header too long")
    try:
        header = json.loads(_exactly(sock, size, wait))
        lengths = list(header.pop("blobs"))
    # Nesting without end is a RecursionError.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WireClosedError("not a message") from error
    if max_blobs is not None and len(lengths) > max_blobs:
        raise WireClosedError("too many blobs")
    if any(type(length) is not int or not 0 <= length <= max_blob for length in lengths):
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
