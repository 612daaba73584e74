"""A backup's file: whole and unaltered, or refused before anything is touched."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from bcweb.backup import archive, restore
from bcweb.backup.archive import DUMP, BackupError, Writer, read_manifest
from bcweb.backup.restore import main
from bcweb.embedded import paths

ROOT = Path(__file__).resolve().parents[2]
FACTS: dict[str, Any] = {
    "created_at": "2026-01-01T00:00:00+00:00",
    "state": "/somewhere",
    "postgres": 15,
    "pg_dump": 15,
    "bytes": "postgres",
    "patient_key_id": "0" * 16,
    "migrations": {"cases": ["0001_initial"]},
    "rows": {},
}


def write(path: Path, **facts: Any) -> Path:
    """A backup in form: its dump is none, so what restores it must have refused it before."""
    writer = Writer(path)
    try:
        writer.add(DUMP, io.BytesIO(b"no dump" * 1000))
        writer.add("state/secret_key", io.BytesIO(b"k" * 64))
        writer.add(f"state/frozen/{'long' * 40}/data/1.png", io.BytesIO(b""), mode=0o600)
        writer.finish({**FACTS, **facts})
    finally:
        writer.close()
    return path


def test_a_backup_is_whole_private_and_an_ordinary_tar_file(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = write(tmp_path / "a backup.tar")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a backup.tar"]
    with open(path, "rb") as file:
        manifest = read_manifest(file)
    assert manifest["members"]["state/secret_key"]["size"] == 64
    with tarfile.open(path) as tar:
        assert tar.getnames()[-2:] == ["manifest.json", "manifest.sha256"]
        content = tar.extractfile(DUMP)
        assert content is not None
        assert content.read() == b"no dump" * 1000


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_text("precious")
    with pytest.raises(BackupError, match="there already"):
        Writer(path)
    path.unlink()
    # Nor one that came meanwhile.
    writer = Writer(path)
    writer.add(DUMP, io.BytesIO(b""))
    path.write_text("precious")
    with pytest.raises(BackupError, match="there already"):
        writer.finish(FACTS)
    writer.close()
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["backup"]


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "backup")
    with pytest.raises(FileNotFoundError):
        writer.add_file("state/x", tmp_path / "none")
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_no_draft(tmp_path: Path) -> None:
    """Closing writes what is buffered, and fails: nobody's data may stay for that."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    try:
        writer = Writer(disk / "backup")
        writer.add(DUMP, io.BytesIO(os.urandom(200 * 1024)))
        with pytest.raises(OSError, match="No space left"):
            for number in range(100):
                writer.add(f"state/{number}", io.BytesIO(os.urandom(1000)))
        with pytest.raises(OSError, match="No space left"):
            writer.close()
        assert list(disk.iterdir()) == []
    finally:
        subprocess.check_call(["umount", str(disk)])


def test_a_disk_without_hard_links_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(BackupError, match="hard links"):
        Writer(tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []


def refused(path: Path, target: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """(exit code, sentence) of a restore that must not touch anything."""
    before = sorted(p.name for p in target.parent.iterdir())
    code = main([str(path), "--state", str(target)])
    assert sorted(p.name for p in target.parent.iterdir()) == before
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return code, said.err


def test_any_altered_byte_is_found_before_anything_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good").read_bytes()
    bad = tmp_path / "bad"
    size = len(good.rstrip(b"\0"))
    for place in [0, 300, 512, 6000, *range(9000, size, 1500), size - 3]:
        if good[place] == 0 and place > 512:
            continue
        bad.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        code, said = refused(bad, tmp_path / "new", capsys)
        assert code == 1, place
        assert "backup" in said


def test_a_backup_that_was_cut_off_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good").read_bytes()
    bad = tmp_path / "bad"
    for length in (0, 100, 512, 3000, len(good) // 2, len(good.rstrip(b"\0")) - 40):
        bad.write_bytes(good[:length])
        code, said = refused(bad, tmp_path / "new", capsys)
        assert code == 1, length
        assert "backup" in said


@pytest.mark.parametrize("name", ["/etc/x", "../x", "state/../../x", "state//x"])
def test_a_member_that_would_leave_the_folder_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Writer(tmp_path / "bad")
    writer.add(DUMP, io.BytesIO(b""))
    writer.add(name, io.BytesIO(b"x"))
    writer.finish(FACTS)
    writer.close()
    assert refused(tmp_path / "bad", tmp_path / "new", capsys)[0] == 1


def test_a_link_in_the_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(tmp_path / "bad", "w") as tar:
        link = tarfile.TarInfo("state/secret_key")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert refused(tmp_path / "bad", tmp_path / "new", capsys)[0] == 1


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"migrations": {"cases": ["0001_initial", "9999_future"]}}, "newer version of bcweb"),
        ({"migrations": {"auth": ["9999_future"]}}, "newer version of bcweb"),
        ({"migrations": {"some_app": ["0001_initial"]}}, "newer version of bcweb"),
        ({"postgres": 99}, "Postgres 99"),
        ({"pg_dump": 99}, "Postgres 99"),
    ],
)
def test_a_newer_backup_is_refused_with_a_sentence(
    facts: dict[str, Any], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = refused(write(tmp_path / "newer", **facts), tmp_path / "new", capsys)
    assert code == 1
    assert sentence in said


def test_another_format_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(archive, "FORMAT", 2)
    path = write(tmp_path / "newer")
    monkeypatch.undo()
    code, said = refused(path, tmp_path / "new", capsys)
    assert code == 1
    assert "format 2" in said


def test_the_target_must_be_new_or_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "backup")
    target = tmp_path / "state"
    target.mkdir()
    (target / "secret_key").write_text("somebody's")
    code, said = refused(path, target, capsys)
    assert (code, "is not empty" in said) == (2, True)
    assert (target / "secret_key").read_text() == "somebody's"
    code, said = refused(tmp_path / "none", tmp_path / "new", capsys)
    assert (code, "cannot be read" in said) == (2, True)
    code, said = refused(path, tmp_path / "backup", capsys)
    assert code == 2


def test_a_dump_that_cannot_be_restored_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is as it was written, but pg_restore refuses what is in it."""
    monkeypatch.setenv("BCWEB_MIN_FREE_MB", "300")
    code, said = refused(write(tmp_path / "backup"), tmp_path / "new", capsys)
    assert code == 1
    assert "could not be restored" in said
    assert not paths.run_folder(tmp_path / ".new.restoring").exists()


def test_a_second_restore_waits_for_the_first_ones_name_and_touches_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = write(tmp_path / "backup"), tmp_path / "new"
    draft = tmp_path / ".new.restoring"
    told: list[int] = []
    rename = Path.rename

    def at_that_moment(self: Path, to: Path) -> Path:
        # Nothing is left to do but this: a second restore must still see the first.
        told.append(main([str(path), "--state", str(target)]))
        made = rename(self, to)
        told.append(main([str(path), "--state", str(target)]))
        # The draft of one that began then, into the folder as it was before.
        draft.mkdir()
        (draft / "restore.lock").write_text("")
        (draft / "somebody's").write_text("work")
        return made

    monkeypatch.setattr(Path, "rename", at_that_moment)
    with restore._draft(target) as ours:
        (ours / "secret_key").write_text("ours")
    assert told == [1, 2]
    said = capsys.readouterr().err
    assert "under way" in said
    assert "is not empty" in said
    assert {p.name: p.read_text() for p in target.iterdir()} == {"secret_key": "ours"}
    assert (draft / "somebody's").read_text() == "work"


def test_restore_reads_no_settings_and_makes_no_keys(tmp_path: Path) -> None:
    environment = {**os.environ, "BCWEB_STATE": str(tmp_path / "other"), "SECRET_KEY": "short"}
    path = write(tmp_path / "newer", postgres=99)
    done = subprocess.run(
        [sys.executable, "manage.py", "restore", str(path), "--state", str(tmp_path / "new")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Postgres 99" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["newer"]
