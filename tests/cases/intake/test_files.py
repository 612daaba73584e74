"""Bytes on their way in: names, hashes, limits, a full disk, nothing left behind."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import time
from pathlib import Path

import pytest

from cases.errors import FileTooLarge, Overloaded
from cases.intake import Limits, clean_name, receive, remove_stale_files
from cases.intake.files import PREFIX, Spool


@pytest.mark.parametrize(
    ("hostile", "cleaned"),
    [
        ("scan.png", "scan.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\anna\\scan.dcm", "scan.dcm"),
        ("..", "file"),
        ("", "file"),
        ("   ", "file"),
        ("\x00\x01\x1f", "file"),
        ("scan\x00.png", "scan.png"),
        ("a\r\nSet-Cookie: x.png", "aSet-Cookie: x.png"),
        ("gnp\u202ecod.exe", "gnpcod.exe"),
        ("<script>alert(1)<", "<script>alert(1)<"),
        ("Brust  links .png ", "Brust links .png"),
        ("e\u0301cho.png", "\u00e9cho.png"),
        ("\ud800broken.png", "broken.png"),
        ("超音波.dcm", "超音波.dcm"),
    ],
)
def test_hostile_name_is_cleaned_and_kept(hostile: str, cleaned: str) -> None:
    assert clean_name(hostile) == cleaned


def test_long_name_keeps_its_extension() -> None:
    name = clean_name("x" * 500 + ".dcm")
    assert (len(name), name[-4:]) == (255, ".dcm")
    assert len(clean_name("x" * 500 + "." + "y" * 300)) == 255


def test_received_file_has_the_size_and_hash_of_its_bytes(tmp_path: Path) -> None:
    data = os.urandom(700_000)
    for source in (io.BytesIO(data), [data[:5], data[5:], b""]):
        with receive(source, "../a/b.png", directory=str(tmp_path)) as file:
            assert (file.name, file.size) == ("b.png", len(data))
            assert file.sha256 == hashlib.sha256(data).hexdigest()
            assert file.path.read_bytes() == data
            assert file.path.parent == tmp_path
            assert file.path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == []


def test_too_large_file_leaves_nothing_behind(tmp_path: Path) -> None:
    limits = Limits(max_bytes=1000)
    with pytest.raises(FileTooLarge, match="1,000 bytes") as refusal:
        receive([b"x" * 600] * 2, "big.dcm", limits, directory=str(tmp_path))
    assert (refusal.value.file, refusal.value.status) == ("big.dcm", 413)
    assert list(tmp_path.iterdir()) == []
    receive([b"x" * 1000], "fits.dcm", limits, directory=str(tmp_path)).discard()


def test_broken_source_leaves_nothing_behind(tmp_path: Path) -> None:
    def chunks() -> object:
        yield b"first"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        receive(chunks(), "a.png", directory=str(tmp_path))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


class FullDisk(io.BytesIO):
    def write(self, data: object, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_is_overload_and_not_the_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fdopen(handle: int, mode: str, buffering: int) -> FullDisk:
        os.close(handle)
        return FullDisk()

    monkeypatch.setattr("cases.intake.files.os.fdopen", fdopen)
    with pytest.raises(Overloaded, match="no room"):
        receive([b"data"], "a.png", directory=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_given_up_spool_swallows_the_rest_and_keeps_counting(tmp_path: Path) -> None:
    spool = Spool(100, str(tmp_path))
    for _ in range(5):
        spool.write(b"x" * 60)
    spool.finish()
    assert (spool.too_large, spool.size, spool.sha256) == (True, 300, "")
    assert spool.path.stat().st_size == 0
    spool.discard()
    spool.discard()
    assert list(tmp_path.iterdir()) == []


def test_only_old_leftovers_are_swept(tmp_path: Path) -> None:
    old, fresh, foreign = (tmp_path / name for name in (PREFIX + "a", PREFIX + "b", "other"))
    for path in (old, fresh, foreign):
        path.write_bytes(b"x")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    os.utime(foreign, (long_ago, long_ago))
    assert remove_stale_files(str(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREFIX + "b", "other"]
