"""HTTP uploads through Django's and DRF's parsers with our handler."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.test import RequestFactory
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request

from cases.errors import FileEmpty, FileTooLarge, Overloaded
from cases.intake import inspect
from cases.intake.upload import HashedUploadedFile, received
from tests.phantoms import bmode_phantom, jpeg_bytes

BOUNDARY = "b0undary"


@pytest.fixture(autouse=True)
def uploads_in_the_test_folder(settings: Any, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_HANDLERS = ["cases.intake.upload.HashingUploadHandler"]
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    settings.BCWEB_MAX_UPLOAD_BYTES = 300_000


def post(*files: tuple[str, bytes], cut: int | None = None) -> HttpRequest:
    """A multipart request with parts named `file` and a text field."""
    body = b""
    for name, data in files:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        body += head.encode() + b"Content-Type: image/png\r\n\r\n" + data + b"\r\n"
    body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="sex"\r\n\r\nF\r\n'.encode()
    body += f"--{BOUNDARY}--\r\n".encode()
    return RequestFactory().generic(
        "POST", "/", body[:cut], content_type=f"multipart/form-data; boundary={BOUNDARY}"
    )


def files_of(request: HttpRequest) -> list[Any]:
    assert request.POST["sex"] == "F"
    return request.FILES.getlist("file")


def test_upload_is_hashed_and_can_be_inspected(tmp_path: Path) -> None:
    data = jpeg_bytes(bmode_phantom(0, (96, 128)))
    request = post(("scan.jpg", data))
    (upload,) = files_of(request)
    assert isinstance(upload, HashedUploadedFile)
    assert upload.sha256 == hashlib.sha256(data).hexdigest()
    assert (upload.size, upload.read(), upload.too_large) == (len(data), data, False)
    path = Path(upload.temporary_file_path())
    assert (path.parent, path.read_bytes()) == (tmp_path, data)
    file = received(upload)
    assert (file.name, file.size, file.path) == ("scan.jpg", len(data), path)
    assert inspect(file).format == "JPEG"
    request.close()
    assert list(tmp_path.iterdir()) == []


def test_drf_sees_the_same_uploads(tmp_path: Path) -> None:
    request = Request(post(("a.png", b"one"), ("b.png", b"")), parsers=[MultiPartParser()])
    uploads = request.FILES.getlist("file")
    assert [(u.name, u.size) for u in uploads] == [("a.png", 3), ("b.png", 0)]
    assert all(isinstance(u, HashedUploadedFile) for u in uploads)
    assert request.POST["sex"] == "F"


def test_empty_file_reaches_the_view_and_is_refused_by_its_code() -> None:
    (upload,) = files_of(post(("empty.png", b"")))
    assert upload.size == 0
    with pytest.raises(FileEmpty) as refusal:
        inspect(received(upload))
    assert refusal.value.file == "empty.png"


def test_too_large_file_is_drained_and_named_while_the_others_stay(tmp_path: Path) -> None:
    uploads = files_of(post(("a.png", b"one"), ("big.dcm", b"x" * 900_000), ("c.png", b"three")))
    assert [u.too_large for u in uploads] == [False, True, False]
    assert uploads[1].size == 900_000
    assert Path(uploads[1].temporary_file_path()).stat().st_size == 0
    with pytest.raises(FileTooLarge) as refusal:
        received(uploads[1])
    assert (refusal.value.file, refusal.value.status) == ("big.dcm", 413)
    assert [received(uploads[i]).size for i in (0, 2)] == [3, 5]


def test_file_of_exactly_the_limit_passes() -> None:
    (upload,) = files_of(post(("fits.png", b"x" * 300_000)))
    assert received(upload).size == 300_000


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..", "file"),
        ("C:\\\\scans\\\\a.dcm", "a.dcm"),
        ("a\x01b\u202ec.png", "abc.png"),
        ("x" * 400 + ".png", "x" * 251 + ".png"),
    ],
)
def test_file_with_a_hostile_name_is_taken_in_under_a_clean_one(sent: str, shown: str) -> None:
    (upload,) = files_of(post((sent, b"data")))
    assert received(upload).name == shown
    assert upload.read() == b"data"


def test_part_without_a_name_is_an_empty_field() -> None:
    assert files_of(post(("", b""))) == []


def test_interrupted_upload_leaves_nothing_behind(tmp_path: Path) -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if not data:
                raise OSError("client went away")
            return data

    request = post(("a.png", b"x" * 200_000), cut=150_000)
    request._stream = Gone(request.body)
    del request._body
    request._read_started = False  # type: ignore[attr-defined]
    request.META["CONTENT_LENGTH"] = "200300"
    with pytest.raises(OSError, match=r"client went away|error while reading"):
        request._load_post_and_files()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", [150_000, 400, 3])
def test_cut_request_is_refused_whole_and_leaves_nothing_behind(
    missing: int, tmp_path: Path
) -> None:
    whole = post(("a.png", b"x" * 1000), ("b.png", b"y" * 200_000))
    length = len(whole.body)
    request = post(("a.png", b"x" * 1000), ("b.png", b"y" * 200_000), cut=length - missing)
    request.META["CONTENT_LENGTH"] = str(length)
    with pytest.raises(MultiPartParserError, match="cut off"):
        request.FILES.getlist("file")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_told_as_overload() -> None:
    (upload,) = files_of(post(("a.png", b"data")))
    upload._spool.disk_full = True
    with pytest.raises(Overloaded):
        received(upload)


def test_upload_of_another_handler_is_copied_and_hashed() -> None:
    with received(SimpleUploadedFile("../a.png", b"data")) as file:
        assert (file.name, file.size) == ("a.png", 4)
        assert file.sha256 == hashlib.sha256(b"data").hexdigest()
    assert not file.path.exists()
