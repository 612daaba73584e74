"""`manage.py import_dataset`: a snapshot in the state folder, once, and the trail of it."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction
from PIL import Image

from cases.models import AuditEvent, TrainingSnapshot
from cases.selectors.snapshots import snapshot_document
from ml.snapshot import load_snapshot, verify_snapshot
from tests.phantoms import bmode_phantom
from worker.management.commands import import_dataset

pytestmark = pytest.mark.django_db


@pytest.fixture
def state(settings, tmp_path: Path) -> Path:
    settings.STATE_DIR = tmp_path / "state"
    return tmp_path / "state"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of six phantoms, and one of them once more under the other label."""
    root = tmp_path / "a set"
    for offset, label in enumerate(("benign", "malignant")):
        (root / label).mkdir(parents=True)
        for number in range(6):
            image = bmode_phantom(10 * offset + number, (96, 110), label)
            Image.fromarray(image).save(root / label / f"{label} ({number}).png")
    (root / "malignant" / "again.png").write_bytes(
        (root / "benign" / "benign (0).png").read_bytes()
    )
    return root


def run(*words: object) -> str:
    out = io.StringIO()
    call_command("import_dataset", *map(str, words), stdout=out)
    return out.getvalue()


def test_a_folder_is_kept_with_report_and_sheets_and_audited(state: Path, data: Path) -> None:
    text = run(data, "--folds", 2, "--licence", "a set=ours")
    assert "13 images" in text
    assert "conflicting labels: benign/benign (0).png, malignant/again.png" in text
    assert "a set: licence: ours" in text
    (folder,) = (state / "snapshots").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    document = load_snapshot(folder / "snapshot.json")
    assert document["id"] == folder.name
    assert verify_snapshot(document, data) == 13
    assert {p.name for p in folder.iterdir()} == {
        "snapshot.json",
        "report.json",
        "report.txt",
        "contact-sheet-01.jpg",
    }
    event = AuditEvent.objects.get(action="dataset.imported")
    assert (event.object_type, event.object_id) == ("snapshot", folder.name)
    assert event.actor_label == "manage.py import_dataset"
    assert event.detail == {"images": 13, "skipped": 0, "groups": 12, "conflicting_groups": 1}


def test_the_same_data_again_changes_nothing(state: Path, data: Path) -> None:
    run(data, "--folds", 2)
    (folder,) = (state / "snapshots").iterdir()
    before = (folder / "snapshot.json").read_bytes()
    data.rename(data.with_name("another name"))
    assert f"there already: {folder}" in run(data.with_name("another name"), "--folds", 2)
    assert list((state / "snapshots").iterdir()) == [folder]
    assert (folder / "snapshot.json").read_bytes() == before
    assert AuditEvent.objects.filter(action="dataset.imported").count() == 1


def test_a_snapshot_changed_by_hand_is_not_taken_for_it(state: Path, data: Path) -> None:
    run(data, "--folds", 2)
    (folder,) = (state / "snapshots").iterdir()
    document = json.loads((folder / "snapshot.json").read_text())
    document["files"][0]["class"] = "normal"
    (folder / "snapshot.json").write_text(json.dumps(document))
    with pytest.raises(CommandError, match="was changed"):
        run(data, "--folds", 2)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere"], "there is no folder"),
        (["DATA", "--folds", "1"], "--folds must be at least 2"),
        (["DATA", "--folds", "20"], "too few for 20 folds"),
        (["DATA", "--licence", "x"], "SOURCE=TEXT"),
        (["DATA", "--licence", "x=y"], "there is no source 'x'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2_and_leaves_nothing(
    state: Path, data: Path, words: list[str], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason) as error:
        run(*(data if word == "DATA" else word for word in words))
    assert error.value.returncode == 2
    assert "\n" not in str(error.value)
    assert not state.exists()
    assert not AuditEvent.objects.filter(action="dataset.imported").exists()


def test_without_its_event_nothing_is_kept(
    state: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise OSError("the database is gone")

    monkeypatch.setattr("worker.management.commands.import_dataset.audit_record", fail)
    with pytest.raises(CommandError, match="the snapshot cannot be kept: the database is gone"):
        run(data, "--folds", 2)
    assert list((state / "snapshots").iterdir()) == []


@contextmanager
def failing_commit() -> Iterator[None]:
    """A transaction whose commit fails when everything in it is done."""
    with transaction.atomic():
        yield
        raise OperationalError("the connection is gone")


def test_where_the_commit_fails_nothing_is_kept(
    state: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_dataset, "transaction", SimpleNamespace(atomic=failing_commit))
    with pytest.raises(OperationalError):
        run(data, "--folds", 2)
    assert list((state / "snapshots").iterdir()) == []
    assert not AuditEvent.objects.filter(action="dataset.imported").exists()


def test_the_event_a_killed_run_did_not_write_is_written_once(
    state: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(import_dataset, "audit_record", lambda **_: None)
        run(data, "--folds", 2)
    assert not AuditEvent.objects.filter(action="dataset.imported").exists()
    for _ in range(2):
        assert "there already" in run(data, "--folds", 2)
    event = AuditEvent.objects.get(action="dataset.imported")
    assert event.detail == {"images": 13, "skipped": 0, "groups": 12, "conflicting_groups": 1}


def test_drafts_of_killed_runs_go_and_those_of_running_ones_stay(state: Path, data: Path) -> None:
    old, fresh = state / "snapshots" / ".a.1", state / "snapshots" / ".b.2"
    for draft in (old, fresh):
        draft.mkdir(parents=True)
        (draft / "contact-sheet-01.jpg").write_bytes(b"x")
    os.utime(old, (1, 1))
    run(data, "--folds", 2)
    assert (old.exists(), fresh.exists()) == (False, True)


def test_loading_the_command_loads_neither_torch_nor_the_packages_of_the_worker() -> None:
    code = (
        "import django, sys; django.setup(); import worker.management.commands.import_dataset; "
        "sys.exit(bool({'torch', 'scipy', 'ml.importer'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_importing_loads_no_torch() -> None:
    code = "import ml.importer, sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# Known to the service


def test_an_import_makes_the_snapshot_known_with_the_folder_of_its_pictures(
    state: Path, data: Path
) -> None:
    run(data, "--folds", 2)
    known = TrainingSnapshot.objects.get()
    (folder,) = (state / "snapshots").iterdir()
    assert (known.pk, known.name, known.images) == (folder.name, "a set", 13)
    assert known.classes == {"benign": 6, "malignant": 7, "normal": 0}
    assert known.grouping["conflicting_groups"] == 1
    assert known.data_root == str(data.resolve())
    assert snapshot_document(known) == load_snapshot(folder / "snapshot.json")
    moved = data.rename(data.with_name("elsewhere"))
    run(moved, "--folds", 2)
    assert TrainingSnapshot.objects.get().data_root == str(moved.resolve())


def test_folders_of_an_earlier_version_are_made_known_without_their_pictures(
    state: Path, data: Path
) -> None:
    run(data, "--folds", 2)
    TrainingSnapshot.objects.all().delete()
    (folder,) = (state / "snapshots").iterdir()
    (state / "snapshots" / "broken").mkdir()
    (state / "snapshots" / "broken" / "snapshot.json").write_text("{")
    assert f"registered: {folder}" in run()
    assert TrainingSnapshot.objects.get().data_root == ""
    assert run() == ""
