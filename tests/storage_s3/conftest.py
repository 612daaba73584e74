"""One S3-compatible server for these tests; each test has a prefix and a gate of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cases.storage import uploads
from tests.s3 import BUCKET, Gate, client, s3_server, storage_of


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    with s3_server() as port:
        client(port).create_bucket(Bucket=BUCKET)
        yield port


class Bucket:
    """The bucket as somebody sees it who has the keys, past the service."""

    def __init__(self, port: int, prefix: str) -> None:
        self.client = client(port)
        self.prefix = prefix

    def names(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        return {item["Key"].removeprefix(f"{self.prefix}/") for item in found.get("Contents", [])}

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}", Body=content)

    def get(self, name: str) -> bytes:
        answer = self.client.get_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")
        content: bytes = answer["Body"].read()
        return content

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")


@pytest.fixture
def gate(s3_port: int) -> Iterator[Gate]:
    made = Gate(s3_port)
    yield made
    made.close()


@pytest.fixture
def bucket(s3_port: int, gate: Gate, settings: Any) -> Iterator[Bucket]:
    """The service keeps its bytes there, through the gate."""
    prefix = f"tests/{uuid4().hex}"
    settings.STORAGES = {**settings.STORAGES, "uploads": storage_of(gate.url, prefix=prefix)}
    yield Bucket(s3_port, prefix)
    gate.up()
    # Nothing of this thread is left for another test's storage.
    uploads().tidy()


@pytest.fixture(autouse=True)
def no_upload_is_left_behind(settings: Any, tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "uploads"
    folder.mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = str(folder)
    yield
    assert list(folder.iterdir()) == []
