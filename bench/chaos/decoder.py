"""The decoder's process, which dies of the files it is told to: `python -m bench.chaos.decoder`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.chaos.poison import poison_of
from cases.intake import decoder


def poisoned(handler: decoder.Handler) -> decoder.Handler:
    """`handler`, once the file has had its way with the process."""

    def run(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        with Path(request["path"]).open("rb") as file:
            kind = poison_of(file.read(4096))
        if kind == "decoder-crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif kind == "decoder-hang":
            threading.Event().wait()
        elif kind == "decoder-grow":
            hoard = [bytearray(2**20) for _ in range(2**20)]
            del hoard
        return handler(request)

    return run


OPERATIONS: Mapping[str, decoder.Handler] = {
    name: poisoned(handler) for name, handler in decoder.OPERATIONS.items()
}

if __name__ == "__main__":
    decoder.main(OPERATIONS)
