from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cases.intake import CheckedImage, Limits, ReceivedFile, inspect, receive, sandbox

Take = Callable[..., ReceivedFile]
Check = Callable[..., CheckedImage]


@pytest.fixture(autouse=True)
def a_busy_machine_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other work has the processor, a decoder may take minutes to start."""
    monkeypatch.setattr(sandbox, "START_S", 300.0)


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Bytes as a received file in the test's own folder."""

    def take(data: bytes, name: str = "image") -> ReceivedFile:
        return receive([data], name, directory=str(tmp_path))

    return take


@pytest.fixture
def check(take: Take) -> Check:
    """Bytes through the whole door: received, decoded in the child, checked."""

    def check(data: bytes, limits: Limits | None = None, name: str = "image") -> CheckedImage:
        return inspect(take(data, name), limits)

    return check
