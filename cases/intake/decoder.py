"""The decoder child: the only process that parses the bytes of a file.

Started as `python -m cases.intake.decoder FD PARENT` by `sandbox.py` with a socket at FD. Each
request is a JSON object, each answer a JSON object and raw bytes, both with lengths in front;
nothing is pickled. The child has no secrets in its environment, cannot write files or start
programs, and dies with its parent. Its standard streams lead nowhere: decoders print parts of
headers when they complain.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import math
import mmap
import os
import resource
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cases.errors import ImageAnimated, ImageUnsupported, UserFacingError
from cases.intake.checked import Limits
from cases.intake.formats import SEND, sniff
from cases.intake.wire import HEADER

Handler = Callable[[dict[str, Any]], tuple[dict[str, Any], bytes]]
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def inspect_file(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Operation `inspect`: the fields of a `CheckedImage`, and the picture as PNG where the model
    does not read the file itself."""
    path, limits, kind = _opening(request)
    if kind == "DICOM":
        from cases.intake.dicom import inspect_dicom

        return inspect_dicom(path, limits)
    from cases.intake.raster import inspect_raster

    return inspect_raster(path, kind, limits)


def render_file(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Operation `render`: frame `frame` as PNG, at most `max_side` pixels long if given."""
    from cases.intake.raster import draw_raster, png_bytes, shrink

    path, limits, kind = _opening(request)
    frame = int(request["frame"])
    if kind == "DICOM":
        from cases.intake.dicom import draw_dicom

        image = draw_dicom(path, frame, limits)
    else:
        image = draw_raster(path, kind, frame, limits)
    image = shrink(image, request.get("max_side"))
    return {"width": image.width, "height": image.height}, png_bytes(image)


OPERATIONS: Mapping[str, Handler] = {"inspect": inspect_file, "render": render_file}


def _opening(request: dict[str, Any]) -> tuple[Path, Limits, str]:
    path = Path(request["path"])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        sniffed = sniff(data)
    if sniffed.accepted:
        return path, Limits(**request["limits"]), sniffed.accepted
    if sniffed.animated:
        raise ImageAnimated(
            f"The file is an animation ({sniffed.name}). Send a single still image as JPEG or "
            "PNG, or the cine loop as DICOM."
        )
    what = f"holds {sniffed.name}" if sniffed.name else "is of an unknown kind"
    raise ImageUnsupported(f"The file {what}, which is not read here. {SEND}")


def serve(channel: socket.socket, operations: Mapping[str, Handler] = OPERATIONS) -> None:
    """Answer requests until the parent closes the channel or memory runs out."""
    usage = resource.RUSAGE_SELF
    base = _address_space()
    _send(channel, {"ready": True})
    while (request := _receive(channel)) is not None:
        used = resource.getrusage(usage)
        _limit_job(request, base, used.ru_utime + used.ru_stime)
        answer, payload = _run(operations, request)
        answer["rss"] = _resident()
        _send(channel, answer, payload)
        if answer.get("fault") == "memory":
            return


def _run(
    operations: Mapping[str, Handler], request: dict[str, Any]
) -> tuple[dict[str, Any], bytes]:
    try:
        result, payload = operations[request["op"]](request)
        return {"ok": True, "result": result}, payload
    except UserFacingError as error:
        cause = type(error.__cause__).__name__ if error.__cause__ else None
        refusal = {"code": error.code, "detail": error.detail, "errors": error.errors}
        return {"ok": False, "cause": cause, **refusal}, b""
    except MemoryError as error:
        return {"ok": False, "fault": "memory", "at": _place(error)}, b""
    except Exception as error:  # noqa: BLE001 - a fault of ours: told to the parent by its place
        # A file that cannot be mapped for want of room: this child has none left for anybody.
        memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
        fault = "memory" if memory else type(error).__name__
        return {"ok": False, "fault": fault, "at": _place(error)}, b""


def _place(error: BaseException) -> str:
    """File and line where `error` arose; never its message, which may quote the header."""
    place, step = "", error.__traceback__
    while step is not None:
        name = Path(step.tb_frame.f_code.co_filename).name
        place, step = f"{name}:{step.tb_lineno}", step.tb_next
    return place


def _limit_job(request: dict[str, Any], base: int, used_s: float) -> None:
    """Soft limits for one job: address space beyond our own, and processor time."""
    limits = request["limits"]
    _soft(resource.RLIMIT_AS, base + int(limits["memory_bytes"]))
    _soft(resource.RLIMIT_CPU, math.ceil(used_s + float(limits["wall_s"])) + 1)


def _soft(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _send(channel: socket.socket, answer: dict[str, Any], payload: bytes = b"") -> None:
    text = json.dumps(answer).encode()
    channel.sendall(HEADER.pack(len(text), len(payload)) + text)
    if payload:
        channel.sendall(payload)


def _receive(channel: socket.socket) -> dict[str, Any] | None:
    head = _exactly(channel, 4)
    if head is None:
        return None
    text = _exactly(channel, int.from_bytes(head, "big"))
    return None if text is None else json.loads(text)


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = channel.recv(count - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def harden(parent: int) -> None:
    """Give up what decoding does not need; end with the parent."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # the parent died before we asked to follow it
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which closes us
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)


def preload() -> None:
    """Import what decoding needs, before limits and before the first file."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    import pydicom.pixels

    import cases.intake.dicom
    import cases.intake.raster

    _ = (cases.intake.dicom, cases.intake.raster, pydicom.pixels)


def main(operations: Mapping[str, Handler] = OPERATIONS) -> None:
    """Serve on the socket at file descriptor `argv[1]` for the process `argv[2]`."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    preload()
    harden(int(sys.argv[2]))
    serve(channel, operations)


if __name__ == "__main__":
    main()
