"""Which pg_dump a backup takes, of those that the machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcweb.backup import dump
from bcweb.backup.archive import BackupError
from bcweb.embedded import paths


def _folder(at: Path, version: str) -> Path:
    at.mkdir()
    program = at / "pg_dump"
    program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    program.chmod(0o700)
    return at


def test_the_oldest_pg_dump_that_is_not_older_than_the_server_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [_folder(tmp_path / v.replace(" ", ""), v) for v in ("18.6", "15.20 (Debian)")]
    found = _folder(tmp_path / "path", "16.2")
    monkeypatch.setattr(paths, "postgres_folders", lambda: iter([*folders, tmp_path / "none"]))
    monkeypatch.setenv("PATH", f"{found}:/usr/bin:/bin")
    assert dump.pg_dump_program(15) == (folders[1] / "pg_dump", 15)
    assert dump.pg_dump_program(16) == (found / "pg_dump", 16)
    assert dump.pg_dump_program(17) == (folders[0] / "pg_dump", 18)
    with pytest.raises(BackupError, match="no pg_dump of version 19 or later"):
        dump.pg_dump_program(19)
