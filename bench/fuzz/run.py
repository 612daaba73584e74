"""Mutated files through `receive` and `inspect`, as an upload goes, and what is asked of each.

A file is taken in or refused with a code of the contract, within its time and memory, and what is
taken in can be drawn. The decoder child may die of it: the answer must be in order all the same.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.fuzz.cases import Case
from cases.errors import FILE_ERROR_CODES, UserFacingError
from cases.intake import CheckedImage, Limits, inspect, receive, render_preview, sandbox

# A file that kills its child is tried once more in a fresh one, and starting that takes a while.
SLACK_S = 60.0
CPU_S = 20.0
"""Processor time that one file may take of its child: the limit that the service gives it."""
BASE_BYTES = 512 * 2**20
"""What a child holds before its first file, at most, and what its limit does not count."""


@dataclass
class Report:
    """What a run found. `findings` are faults; the rest is told because it is worth knowing."""

    files: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    busiest_s: float = 0.0
    busiest: str = ""
    largest_bytes: int = 0
    largest: str = ""
    seconds: float = 0.0


class _Events(logging.Handler):
    """What the sandbox logs while a file is with it: deaths, hangs, memory, faults of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("decoder_"):
            words = [word for word in text.split() if not word.startswith(("pid=", "op="))]
            self.seen.append(" ".join(words))


@contextmanager
def _listening() -> Iterator[_Events]:
    logger, events = logging.getLogger("cases.intake.sandbox"), _Events()
    before = logger.level
    logger.addHandler(events)
    logger.setLevel(logging.INFO)
    try:
        yield events
    finally:
        logger.removeHandler(events)
        logger.setLevel(before)


def run(files: Iterator[Case], limits: Limits | None = None, folder: Path | None = None) -> Report:
    """Send `files` through the doors, one after the other."""
    limits = limits or Limits()
    report = Report()
    began = time.perf_counter()
    with _listening() as events:
        for file in files:
            _one(file, limits, folder, events, report)
    report.seconds = time.perf_counter() - began
    return report


def _one(file: Case, limits: Limits, folder: Path | None, events: _Events, report: Report) -> None:
    events.seen.clear()
    _forget_peaks()
    used, began = _processor_time(), time.perf_counter()
    try:
        answer = _through(file, limits, folder, report)
    except Exception as error:  # noqa: BLE001 - anything else than a refusal is what is looked for
        answer = type(error).__name__
        report.findings.append(f"{file.name}: {answer}: {error}")
    seconds = time.perf_counter() - began
    report.files += 1
    report.answers[answer] += 1
    busy = _processor_time() - used
    if busy > report.busiest_s:
        report.busiest_s, report.busiest = busy, file.name
    if busy > CPU_S:
        report.findings.append(f"{file.name}: took {busy:.0f} s of the processor")
    for event in events.seen:
        report.events[event] += 1
        report.examples.setdefault(event, file.name)
    if seconds > report.slowest_s:
        report.slowest_s, report.slowest = seconds, file.name
    if seconds > limits.wall_s * 2 + SLACK_S:
        report.findings.append(f"{file.name}: took {seconds:.0f} s")
    peak = _peak()
    if peak > report.largest_bytes:
        report.largest_bytes, report.largest = peak, file.name
    if peak > limits.memory_bytes + BASE_BYTES:
        report.findings.append(f"{file.name}: its child held {peak / 2**20:.0f} MiB")


def _through(file: Case, limits: Limits, folder: Path | None, report: Report) -> str:
    directory = None if folder is None else str(folder)
    with receive([file.data], file.seed.name, limits, directory=directory) as received:
        try:
            image = inspect(received, limits)
        except UserFacingError as error:
            if error.code not in FILE_ERROR_CODES or not error.detail or error.file is None:
                report.findings.append(f"{file.name}: answered {error.code}: {error.detail}")
            return error.code
        for index in sorted({0, image.frame, image.frames - 1}):
            _draw(file, image, received.path, index, limits, report)
        return "accepted"


def _draw(
    file: Case, image: CheckedImage, path: Path, index: int, limits: Limits, report: Report
) -> None:
    """What was taken in must be drawable: all of it, where all was decoded."""
    whole = image.dicom is None or image.dicom.frames_decoded == image.frames
    try:
        png = render_preview(path, index, limits)
    except UserFacingError as error:
        if whole or error.code not in FILE_ERROR_CODES:
            report.findings.append(f"{file.name}: taken in, but frame {index} is {error.code}")
        return
    size = tuple(int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    if size != (image.width, image.height):
        report.findings.append(f"{file.name}: taken in, but frame {index} is of another size")


def _forget_peaks() -> None:
    for pid in sandbox.pool().pids():
        _write(Path(f"/proc/{pid}/clear_refs"), "5")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError:
        return  # that child has just ended


def _peak() -> int:
    """The most memory that a living child of this process held since `_forget_peaks`."""
    most = 0
    for pid in sandbox.pool().pids():
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        kib = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
        most = max(most, kib * 1024)
    return most


def _processor_time() -> float:
    """Seconds that the living children of this process have used so far, all together."""
    ticks = 0
    for pid in sandbox.pool().pids():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def own_memory() -> int:
    """Resident bytes of this process, which only counts, hashes and asks."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
