from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cases.intake import CheckedImage, Limits, ReceivedFile, inspect, receive

Take = Callable[..., ReceivedFile]
Check = Callable[..., CheckedImage]


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
