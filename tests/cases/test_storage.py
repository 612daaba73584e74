"""Bytes in Postgres: whole, shared by content, and loud where something is missing."""

from __future__ import annotations

import os

import pytest
from django.core.files.base import ContentFile
from django.db import transaction

from cases.models import Blob, BlobChunk
from cases.storage import CHUNK_BYTES, read_bytes, uploads

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3_500_000])
def test_bytes_come_back_as_they_went_in(size: int) -> None:
    data = os.urandom(size)
    uploads().save("blobs/x", ContentFile(data))
    assert read_bytes("blobs/x") == data
    assert uploads().size("blobs/x") == size
    assert BlobChunk.objects.count() == -(-size // CHUNK_BYTES)


def test_a_name_is_written_once() -> None:
    uploads().save("blobs/x", ContentFile(b"a"))
    with pytest.raises(FileExistsError):
        uploads().save("blobs/x", ContentFile(b"b"))
    assert read_bytes("blobs/x") == b"a"


def test_bytes_go_back_with_their_transaction() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        uploads().save("blobs/x", ContentFile(b"a" * CHUNK_BYTES * 2))
        raise RuntimeError
    assert not uploads().exists("blobs/x")
    assert BlobChunk.objects.count() == 0


def test_what_is_missing_or_cut_is_an_error_not_an_empty_file() -> None:
    with pytest.raises(FileNotFoundError):
        read_bytes("blobs/none")
    uploads().save("blobs/x", ContentFile(b"a" * (CHUNK_BYTES + 5)))
    BlobChunk.objects.filter(index=1).update(data=b"ab")
    with pytest.raises(OSError, match="bytes instead of"):
        read_bytes("blobs/x")
    BlobChunk.objects.filter(index=0).delete()
    with pytest.raises(OSError, match="chunk 0 of 2 is missing"):
        read_bytes("blobs/x")


def test_delete_takes_the_chunks_along() -> None:
    uploads().save("blobs/x", ContentFile(b"abc"))
    uploads().delete("blobs/x")
    assert Blob.objects.count() == BlobChunk.objects.count() == 0
