"""The bucket behind the storage API: whole, written once, loud where it does not answer."""

from __future__ import annotations

import os
import threading
from typing import Any

import environs
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.db import transaction

from bcweb import byte_store
from cases.errors import Overloaded
from cases.selectors.health import readiness
from cases.storage import StorageUnavailable, read_bytes, store_once, uploads
from tests.live import wait_for
from tests.s3 import Gate, stopwatch, storage_of
from tests.storage_s3.conftest import Bucket

pytestmark = pytest.mark.django_db(transaction=True)


def save(name: str, content: bytes) -> None:
    with transaction.atomic():
        uploads().save(name, ContentFile(content))


@pytest.mark.parametrize("size", [0, 1, 3_500_000])
def test_bytes_come_back_as_they_went_in(size: int, bucket: Bucket) -> None:
    data = os.urandom(size)
    save("blobs/x", data)
    assert read_bytes("blobs/x") == data
    assert uploads().size("blobs/x") == size
    assert uploads().exists("blobs/x")
    assert bucket.names() == {"blobs/x"}


def test_a_name_is_written_once(bucket: Bucket, gate: Gate) -> None:
    save("blobs/x", b"a")
    with pytest.raises(FileExistsError):
        save("blobs/x", b"b")
    with transaction.atomic():
        store_once("blobs/x", ContentFile(b"c"))
    assert bucket.get("blobs/x") == b"a"
    assert sum(line.startswith("PUT") for line in gate.seen) == 1


def test_the_server_refuses_what_came_between(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody past our locks wrote the name after we had looked."""
    bucket.put("blobs/x", b"theirs")
    monkeypatch.setattr(type(uploads()), "exists", lambda self, name: False)
    with pytest.raises(FileExistsError):
        save("blobs/x", b"ours")
    assert bucket.get("blobs/x") == b"theirs"


def test_what_is_not_there_is_told_as_such(bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError):
        read_bytes("blobs/none")
    with pytest.raises(FileNotFoundError):
        uploads().size("blobs/none")
    assert not uploads().exists("blobs/none")
    assert uploads().find("blobs/none") is None


def test_bytes_are_written_in_a_transaction_only(bucket: Bucket) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        uploads().save("blobs/x", ContentFile(b"a"))
    with pytest.raises(transaction.TransactionManagementError):
        store_once("blobs/x", ContentFile(b"a"))
    assert bucket.names() == set()


def test_bytes_are_deleted_with_the_commit_and_stay_with_a_rollback(bucket: Bucket) -> None:
    save("blobs/x", b"a")
    with transaction.atomic():
        uploads().delete("blobs/x")
        assert uploads().exists("blobs/x")
        transaction.set_rollback(True)
    assert bucket.names() == {"blobs/x"}
    with transaction.atomic():
        uploads().delete("blobs/x")
    assert bucket.names() == set()


def test_the_listing_goes_on_where_it_ended(bucket: Bucket) -> None:
    for n in range(5):
        bucket.put(f"blobs/{n}", b"x" * n)
    pages, after = [], ""
    while page := uploads().stored(after=after, limit=2):
        pages.append([(stored.name, stored.size) for stored in page])
        after = page[-1].name
    assert pages == [
        [("blobs/0", 0), ("blobs/1", 1)],
        [("blobs/2", 2), ("blobs/3", 3)],
        [("blobs/4", 4)],
    ]


def test_a_server_that_is_away_is_overloaded_and_never_damage(bucket: Bucket, gate: Gate) -> None:
    save("blobs/x", b"a")
    gate.is_down = True
    for ask in (
        lambda: read_bytes("blobs/x"),
        lambda: uploads().exists("blobs/x"),
        lambda: uploads().stored(),
        lambda: uploads().ping(),
        lambda: save("blobs/y", b"b"),
    ):
        with pytest.raises(StorageUnavailable) as told:
            ask()
        assert isinstance(told.value, Overloaded)
        assert not isinstance(told.value, OSError)
    gate.up()
    assert read_bytes("blobs/x") == b"a"


def test_a_server_that_hangs_is_left_after_its_time(
    bucket: Bucket, gate: Gate, settings: Any
) -> None:
    storage = storage_of(gate.url, prefix=bucket.prefix, seconds=1, attempts=2)
    settings.STORAGES = {**settings.STORAGES, "uploads": storage}
    gate.hanging = threading.Event()
    elapsed = stopwatch()
    try:
        with pytest.raises(StorageUnavailable):
            uploads().exists("blobs/x")
    finally:
        gate.hanging.set()
    # Two attempts of one second and the pause between them; far below the hanging server's 300.
    assert elapsed() < 100
    # The second one may have been given up before it was looked at.
    wait_for("both attempts to be seen", lambda: len(gate.seen) >= 2)
    assert len(gate.seen) == 2


def test_bytes_that_trickle_are_given_up(
    bucket: Bucket, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("blobs/x", b"a" * 1024**2)
    assert len(read_bytes("blobs/x")) == 1024**2
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr("cases.storage_s3.monotonic", lambda: float(next(clock)))
    with pytest.raises(StorageUnavailable):
        read_bytes("blobs/x")


def test_a_passing_fault_is_tried_again(bucket: Bucket, gate: Gate, settings: Any) -> None:
    storage = storage_of(gate.url, prefix=bucket.prefix, attempts=2)
    settings.STORAGES = {**settings.STORAGES, "uploads": storage}
    fails = iter([True, False])
    gate.fails = lambda method: next(fails, False)  # type: ignore[method-assign]
    assert not uploads().exists("blobs/x")
    assert len(gate.seen) == 2


def test_no_bucket_is_a_fault_of_readiness_not_an_empty_storage(
    bucket: Bucket, gate: Gate, settings: Any
) -> None:
    storage = storage_of(gate.url, prefix="x")
    storage["OPTIONS"]["bucket_name"] = "no-such-bucket"
    assert "storage" not in {fault["check"] for fault in readiness()[0]}
    settings.STORAGES = {**settings.STORAGES, "uploads": storage}
    assert "storage" in {fault["check"] for fault in readiness()[0]}
    with pytest.raises(StorageUnavailable):
        uploads().stored()
    with pytest.raises(StorageUnavailable):
        read_bytes("blobs/x")


GOOD = {
    "BCWEB_STORAGE": "s3",
    "BCWEB_S3_BUCKET": "images",
    "BCWEB_S3_ENDPOINT": "https://s3.example.org:9000",
    "BCWEB_S3_ACCESS_KEY": "key",
    "BCWEB_S3_SECRET_KEY": "secret",
    "BCWEB_S3_PREFIX": "bcweb/main",
    "BCWEB_S3_ATTEMPTS": "3",
    "BCWEB_S3_SECONDS": "2",
}


def configured(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], most: int = 10**9
) -> dict[str, Any]:
    for name in list(os.environ):
        if name.startswith(("BCWEB_S3_", "BCWEB_STORAGE")):
            monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    env = environs.Env(eager=False)
    told = byte_store.declare(env)
    env.seal()
    return byte_store.uploads_storage(told, max_upload_bytes=most, lease_seconds=20)


def test_the_environment_chooses_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, {})["BACKEND"] == "cases.storage.PostgresStorage"
    made = configured(monkeypatch, GOOD)
    assert made["BACKEND"] == "cases.storage_s3.S3Uploads"
    assert made["OPTIONS"]["location"] == "bcweb/main"
    assert made["OPTIONS"]["client_config"].retries["total_max_attempts"] == 3
    # A machine's role has no keys.
    without = {k: v for k, v in GOOD.items() if not k.endswith("_KEY")}
    assert configured(monkeypatch, without)["OPTIONS"]["access_key"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"BCWEB_STORAGE": "S3"},
        {"BCWEB_STORAGE": "postgres"},
        {"BCWEB_S3_BUCKET": ""},
        {"BCWEB_S3_BUCKET": "Has_Capitals"},
        {"BCWEB_S3_PREFIX": "/absolute"},
        {"BCWEB_S3_PREFIX": "../up"},
        {"BCWEB_S3_ENDPOINT": "s3.example.org"},
        {"BCWEB_S3_ENDPOINT": "https://user@s3.example.org"},
        {"BCWEB_S3_ENDPOINT": "https://s3.example.org/bucket"},
        {"BCWEB_S3_ENDPOINT": "https://s3.example.org:port"},
        {"BCWEB_S3_SECRET_KEY": ""},
        {"BCWEB_S3_ADDRESSING": "both"},
        {"BCWEB_S3_SECONDS": "0"},
        # A call could outlast the lease of the jobs it is made for.
        {"BCWEB_S3_SECONDS": "5"},
        {"BCWEB_S3_ATTEMPTS": "5"},
        {"BCWEB_S3_SECONDS": "soon"},
        {"BCWEB_S3_ATTEMPTS": "11"},
    ],
)
def test_a_wrong_value_stops_the_start_and_is_named(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        (ImproperlyConfigured, environs.EnvValidationError, environs.EnvError)
    ) as no:
        configured(monkeypatch, {**GOOD, **wrong})
    named = next(iter(wrong)) if "postgres" not in wrong.values() else "BCWEB_S3_BUCKET"
    assert named in str(no.value)


def test_files_beyond_one_put_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    configured(monkeypatch, GOOD, most=5 * 1024**3)
    with pytest.raises(ImproperlyConfigured, match="BCWEB_MAX_UPLOAD_BYTES"):
        configured(monkeypatch, GOOD, most=5 * 1024**3 + 1)
