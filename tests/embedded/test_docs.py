"""docs/operations.md names every setting there is."""

from __future__ import annotations

import re

from bcweb import secret_files
from tests.embedded.conftest import ROOT


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs" / "operations.md").read_text()
    read_by_settings = re.findall(r'env\.\w+\(\s*"([A-Z0-9_]+)"', settings_text())
    assert {"SECRET_KEY", "BCWEB_S3_BUCKET"} <= set(read_by_settings)
    read_elsewhere: list[str] = []
    for path in (ROOT / "bcweb" / "embedded").glob("*.py"):
        read_elsewhere += re.findall(r'"(BCWEB_[A-Z_]+)"', path.read_text())
    read_elsewhere += secret_files.NAMES
    internal = {"BCWEB_UNDER_MAKE"}
    missing = (
        {*read_by_settings, *read_elsewhere}
        - internal
        - set(re.findall(r"`([A-Z0-9_]+)`", documented))
    )
    assert not missing


def settings_text() -> str:
    files = ("settings.py", "byte_store.py")
    return "".join((ROOT / "bcweb" / name).read_text() for name in files)
