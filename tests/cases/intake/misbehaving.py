"""A decoder child with bad habits, for the tests of the sandbox."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import sys
from pathlib import Path
from typing import Any

from cases.intake.decoder import OPERATIONS, main

Answer = tuple[dict[str, Any], bytes]


def echo(request: dict[str, Any]) -> Answer:
    return {"said": request["say"], "pid": os.getpid()}, str(request["say"]).encode() * 1000


def crash(request: dict[str, Any]) -> Answer:
    ctypes.string_at(0)
    raise AssertionError("unreachable")


def crash_once(request: dict[str, Any]) -> Answer:
    flag = Path(request["flag"])
    if not flag.exists():
        flag.touch()
        ctypes.string_at(0)
    return {"pid": os.getpid()}, b""


def hang(request: dict[str, Any]) -> Answer:
    while True:
        pass


def blow_up(request: dict[str, Any]) -> Answer:
    hoard = []
    while True:
        hoard.append(bytearray(2**24))


def map_too_much(request: dict[str, Any]) -> Answer:
    # Refused by the kernel, which Python tells as an OSError.
    mmap.mmap(-1, 2**40)
    raise AssertionError("unreachable")


def babble(request: dict[str, Any]) -> Answer:
    os.write(int(sys.argv[1]), b"\xff" * 4096)
    return {}, b""


def fail(request: dict[str, Any]) -> Answer:
    raise KeyError("Secret^Name")


def describe(request: dict[str, Any]) -> Answer:
    limits = {
        name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        for name in ("AS", "CPU", "CORE", "FSIZE", "NOFILE", "NPROC")
    }
    status = Path("/proc/self/status").read_text()
    return {
        "environment": dict(os.environ),
        "limits": limits,
        "no_new_privs": "NoNewPrivs:\t1" in status,
        "modules": sorted(sys.modules),
    }, b""


if __name__ == "__main__":
    habits = (echo, crash, crash_once, hang, blow_up, babble, map_too_much, fail, describe)
    main({**OPERATIONS, **{habit.__name__: habit for habit in habits}})
