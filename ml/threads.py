"""How many threads a process may use: the container's CPU quota, not the machine's cores."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def cpu_count(root: Path = _ROOT) -> int:
    """Whole CPUs this process may use, at least 1.

    The smallest of: the CPUs it may be scheduled on, and the CPU quotas of its control groups
    and all that hold them (cgroup v2 ``cpu.max``, v1 ``cpu.cfs_quota_us``), rounded down: with
    more threads than quota the kernel stops all of them in the middle of a layer. ``root`` is
    where /proc and /sys are looked for. Files that are missing or not understood set no limit.
    """
    limits = [float(len(os.sched_getaffinity(0))), *_quotas(root)]
    return max(1, math.floor(min(limits)))


def default_threads() -> int:
    """``OMP_NUM_THREADS`` where somebody set it to a number, else :func:`cpu_count`."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else cpu_count()


def _quotas(root: Path) -> Iterator[float]:
    """CPUs allowed by each control group of this process that has a quota."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        # Number, controllers (none in v2), path: "0::/docker/abc", "4:cpu,cpuacct:/docker/abc".
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for group in _upwards(root / "sys/fs/cgroup", path):
                yield from _share(*_read(group / "cpu.max").split()[:2])
        elif "cpu" in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controllers
            if not mount.is_dir():
                mount = root / "sys/fs/cgroup/cpu"
            for group in _upwards(mount, path):
                quota, period = (_read(group / f"cpu.cfs_{n}_us") for n in ("quota", "period"))
                yield from _share(quota, period)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group and all that hold it; inside a container its own mount is the top."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for count in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:count])


def _share(quota: str = "", period: str = "") -> Iterator[float]:
    """CPUs of a quota in a period, both in microseconds; "max" and -1 are no limit."""
    try:
        allowed, every = int(quota), int(period)
    except ValueError:
        return
    if allowed > 0 and every > 0:
        yield allowed / every


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
