"""`verify_storage`: each kind of fault is found and named, and nothing that is well."""

from __future__ import annotations

import io
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from cases.access import SYSTEM
from cases.models import AuditEvent, Blob, BlobChunk, Image, ModelVersion, TrainingSnapshot
from cases.services.clock import clock_read
from cases.services.previews import frame_png
from cases.services.snapshots import snapshot_register
from cases.services.verification import png_is_whole
from cases.storage import CHUNK_BYTES, read_bytes, store_once, uploads
from tests.factories import submit
from tests.phantoms import bmode_phantom, dicom_bytes

pytestmark = pytest.mark.django_db


def verify(*words: str) -> tuple[int, list[str], str]:
    """(exit code, lines on stdout, sentence on stderr)."""
    out = io.StringIO()
    code, told = 0, ""
    try:
        call_command("verify_storage", *words, stdout=out)
    except CommandError as error:
        code, told = error.returncode, str(error)
    return code, out.getvalue().splitlines(), told


def a_snapshot() -> TrainingSnapshot:
    document: dict[str, Any] = {
        "id": "5" * 64,
        "files": [],
        "classes": {},
        "sources": [],
        "grouping": {},
        "skipped": [],
    }
    content = json.dumps(document).encode()
    made, _ = snapshot_register(
        actor=SYSTEM, document=document, content=content, name="tests", data_root=""
    )
    return made


def everything() -> Image:
    """Every kind of stored object: a file, a frame, a preview, a model and a document."""
    image = submit(files=[dicom_bytes(bmode_phantom(seed=1))], patient_id="").images.get()
    frame_png(image=image, index=0)
    a_snapshot()
    return image


def change(name: str) -> None:
    """One bit of the middle of an object, its size unchanged."""
    chunk = BlobChunk.objects.filter(blob_id=name).first()
    assert chunk is not None
    data = bytearray(chunk.data)
    data[len(data) // 2] ^= 1
    BlobChunk.objects.filter(pk=chunk.pk).update(data=bytes(data))


def age(name: str, hours: float) -> None:
    Blob.objects.filter(pk=name).update(created_at=clock_read() - timedelta(hours=hours))


def test_what_is_whole_is_whole_and_all_of_it_was_read() -> None:
    everything()
    code, lines, told = verify()
    assert (code, told) == (0, "")
    assert lines == [lines[0]]
    n = Blob.objects.count()
    assert n == 5
    # The preview has no row of its own.
    assert lines[0].startswith(f"verify_storage: ok ({n} objects, {n - 1} rows, {n} read again")


def test_bytes_that_two_images_share_are_read_once_and_well() -> None:
    data = [dicom_bytes(bmode_phantom(seed=2))]
    for _ in range(2):
        submit(files=data, patient_id="")
    code, lines, _ = verify()
    assert code == 0
    assert f"({Blob.objects.count()} objects, 5 rows, {Blob.objects.count()} read" in lines[0]


@pytest.mark.parametrize("kind", ["image", "frame", "model", "snapshot"])
def test_missing_bytes_are_named_by_their_row(kind: str) -> None:
    image = everything()
    pk, name = row_of(kind, image)
    Blob.objects.filter(pk=name).delete()
    assert verify()[:2] == (1, [f"missing {kind}:{pk} {name}"])


@pytest.mark.parametrize("kind", ["image", "frame", "model", "snapshot", "preview"])
def test_altered_bytes_are_named_by_their_row(kind: str) -> None:
    image = everything()
    pk, name = row_of(kind, image)
    change(name)
    code, lines, told = verify()
    assert (code, lines) == (1, [f"altered {kind}:{pk} {name}"])
    assert told.startswith("verify_storage: 1 altered (")


def row_of(kind: str, image: Image) -> tuple[object, str]:
    if kind == "frame":
        frame = image.frame_rows.get()
        return frame.pk, frame.storage_name
    if kind == "model":
        model = ModelVersion.objects.get()
        return model.pk, model.storage_name
    if kind == "snapshot":
        snapshot = TrainingSnapshot.objects.get()
        return snapshot.pk, snapshot.storage_name
    return image.pk, image.storage_name if kind == "image" else f"previews/{image.sha256}-0.png"


def test_a_document_without_a_hash_in_its_row_is_checked_by_its_id() -> None:
    snapshot = a_snapshot()
    TrainingSnapshot.objects.update(document_sha256="")
    assert verify()[0] == 0
    change(snapshot.storage_name)
    assert verify()[:2] == (1, [f"altered snapshot:{snapshot.pk} {snapshot.storage_name}"])


def test_another_size_is_found_without_reading() -> None:
    model = ModelVersion.objects.get(pk=submit().jobs.get().model_version_id)
    ModelVersion.objects.update(size=model.size + 1)
    assert verify("--limit", "0")[:2] == (1, [f"altered model:{model.pk} {model.storage_name}"])


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_half_written_object_is_cut(lost: int) -> None:
    image = submit().images.get()
    content = b"a" * (2 * CHUNK_BYTES + 5)
    Blob.objects.filter(pk=image.storage_name).update(size=len(content))
    BlobChunk.objects.filter(blob_id=image.storage_name).delete()
    Image.objects.update(size=len(content))
    for index in {0, 1, 2} - {lost}:
        piece = content[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        BlobChunk.objects.create(blob_id=image.storage_name, index=index, data=piece)
    # Even where no bytes are read again.
    for words in ((), ("--limit", "0")):
        assert verify(*words)[:2] == (1, [f"cut image:{image.pk} {image.storage_name}"])


def test_chunks_past_the_end_or_without_an_object_are_cut() -> None:
    image = submit().images.get()
    BlobChunk.objects.create(blob_id=image.storage_name, index=1, data=b"more")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        BlobChunk.objects.create(blob_id="blobs/stray", index=0, data=b"stray")
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    assert verify()[:2] == (1, [f"cut image:{image.pk} {image.storage_name}", "cut - blobs/stray"])


def test_what_no_row_needs_is_an_orphan_and_stays_unless_asked() -> None:
    everything()
    store_once("blobs/" + "0" * 64, ContentFile(b"nobody's"))
    store_once(f"previews/{'0' * 64}-0.png", ContentFile(b"of no image"))
    expected = [f"orphan - blobs/{'0' * 64}", f"orphan - previews/{'0' * 64}-0.png"]
    for _ in range(2):
        assert verify()[:2] == (1, expected)
    assert not AuditEvent.objects.filter(action="storage.orphan_deleted").exists()


def test_only_old_orphans_are_deleted_and_the_trail_says_so() -> None:
    kept = everything()
    old, young = "blobs/" + "0" * 64, "blobs/" + "1" * 64
    for name in (old, young):
        store_once(name, ContentFile(b"nobody's"))
        age(name, 25 if name == old else 23)
    age(kept.storage_name, 10_000)
    assert verify("--delete-orphans")[:2] == (1, [f"orphan - {young}"])
    assert not uploads().exists(old)
    assert uploads().exists(young)
    event = AuditEvent.objects.get(action="storage.orphan_deleted")
    assert (event.actor_kind, event.actor_label) == ("command", "manage.py verify_storage")
    assert event.detail["name"] == old
    assert event.site_id is None
    code, lines, _ = verify("--delete-orphans", "--older-than", "22")
    assert code == 0
    assert "1 orphans deleted" in lines[0]
    assert AuditEvent.objects.filter(action="storage.orphan_deleted").count() == 2
    assert read_bytes(kept.storage_name)


def test_a_sample_reads_part_and_still_compares_all_names(tmp_path: Path) -> None:
    image = everything()
    change(image.storage_name)
    code, lines, _ = verify("--limit", "0")
    assert code == 0
    assert " 0 read again (0.0 MB)" in lines[0]
    code, lines, _ = verify("--limit", "2", "--sample", "100")
    assert code in (0, 1)
    Blob.objects.filter(pk=image.frame_rows.get().storage_name).delete()
    assert verify("--limit", "0")[:2][1][0].startswith("missing frame:")
    report = tmp_path / "report.json"
    verify("--sample", "0.0001", "--json", str(report))
    assert json.loads(report.read_text())["read"] <= 4


def test_the_report_holds_every_fault_and_the_counts(tmp_path: Path) -> None:
    image = everything()
    change(image.storage_name)
    Blob.objects.filter(pk=image.frame_rows.get().storage_name).delete()
    report = tmp_path / "report.json"
    code, lines, _ = verify("--json", str(report))
    told = json.loads(report.read_text())
    assert code == 1
    assert [f"{f['kind']} {f['object']} {f['name']}" for f in told["faults"]] == lines
    assert told["whole"] is False
    assert told["counts"] == {"missing": 1, "altered": 1, "cut": 0, "orphan": 0}
    assert (told["objects"], told["rows"], told["deleted"]) == (4, 4, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "words",
    [
        ("--sample", "0"),
        ("--sample", "101"),
        ("--limit", "-1"),
        ("--older-than", "0.5"),
        ("--json", "/no such folder/report.json"),
    ],
)
def test_bad_usage_is_exit_code_2_and_reads_nothing(words: tuple[str, ...]) -> None:
    code, lines, told = verify(*words)
    assert (code, lines) == (2, [])
    assert "\n" not in told


def test_a_png_is_whole_only_to_its_last_byte() -> None:
    image = submit().images.get()
    png = frame_png(image=image, index=0)
    assert png_is_whole(io.BytesIO(png))
    for bad in (b"", png[:-1], png + b"x", png[:40], b"\x89PNG\r\n\x1a\n", png[1:]):
        assert not png_is_whole(io.BytesIO(bad))


@pytest.mark.django_db(transaction=True)
def test_a_delivery_under_way_is_no_fault_and_what_it_relies_on_is_not_deleted() -> None:
    """Somebody stores an object and relies on an old orphan; their rows are not committed yet."""
    old, new = "blobs/" + "0" * 64, "blobs/" + "1" * 64
    store_once(old, ContentFile(b"left behind"))
    age(old, 100)
    stored, finish = threading.Event(), threading.Event()

    def deliver() -> None:
        try:
            with transaction.atomic():
                store_once(new, ContentFile(b"new"))
                store_once(old, ContentFile(b"left behind"))
                stored.set()
                assert finish.wait(300)
                transaction.set_rollback(True)
        finally:
            connection.close()

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        assert stored.wait(120)
        code, lines, _ = verify("--delete-orphans")
        assert code == 0
        assert "1 in progress" in lines[0]
        assert uploads().exists(old)
    finally:
        finish.set()
        thread.join()
    # Nothing came of it: now it may go.
    assert "1 orphans deleted" in verify("--delete-orphans")[1][0]
    assert not uploads().exists(old)
