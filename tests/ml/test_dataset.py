import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from ml.dataset import limit_records, read_dataset, report
from ml.errors import DatasetError
from tests.ml.helpers import phantom


@pytest.fixture
def folder(data_dir, tmp_path):
    """A copy of the phantoms that a test may spoil."""
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    return copy


def write_manifest(folder, rows, columns=("file", "class", "patient_id", "source")):
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)


def test_a_folder_per_class_is_read_with_labels_sizes_and_masks(dataset, data_dir):
    assert dataset.counts() == {"benign": 10, "malignant": 8, "normal": 6}
    record = next(r for r in dataset.records if r.file == "benign/benign (1).png")
    assert record.label == "benign" and record.target == 0
    assert record.source == data_dir.name
    assert record.patient_id is None
    assert record.masks == ("benign/benign (1)_mask.png",)
    with Image.open(data_dir / record.file) as image:
        assert image.size == (record.width, record.height)
    assert dataset.skipped == ()


def test_several_masks_belong_to_one_picture(folder):
    shutil.copy(folder / "benign/benign (1)_mask.png", folder / "benign/benign (1)_mask_1.png")
    record = next(r for r in read_dataset(folder).records if r.file == "benign/benign (1).png")
    assert record.masks == ("benign/benign (1)_mask.png", "benign/benign (1)_mask_1.png")


def test_masks_alone_are_reported_and_are_no_pictures(folder):
    (folder / "benign/benign (1).png").unlink()
    data = read_dataset(folder)
    assert data.counts()["benign"] == 9
    assert [(s.file, s.reason) for s in data.skipped] == [
        ("benign/benign (1)_mask.png", "a mask without its picture")
    ]


def test_unreadable_files_are_named_and_skipped_and_system_files_ignored(folder):
    (folder / "benign/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "benign/notes.txt").write_text("hello")
    (folder / "benign/Thumbs.db").write_bytes(b"x")
    (folder / "benign/.DS_Store").write_bytes(b"x")
    data = read_dataset(folder)
    assert [s.file for s in data.skipped] == ["benign/broken.png", "benign/notes.txt"]
    assert data.counts()["benign"] == 10


def test_an_unknown_class_folder_is_refused(folder):
    (folder / "cyst").mkdir()
    with pytest.raises(DatasetError, match="unknown class folder 'cyst'"):
        read_dataset(folder)


def test_class_folders_may_be_written_in_capitals(folder):
    (folder / "benign").rename(folder / "Benign")
    assert read_dataset(folder).counts()["benign"] == 10


@pytest.mark.parametrize("kind", ["missing", "empty", "masks only", "single class"])
def test_data_that_cannot_serve_is_refused(folder, tmp_path, kind):
    target = folder
    if kind == "missing":
        target = tmp_path / "nowhere"
    elif kind == "empty":
        target = tmp_path / "empty"
        target.mkdir()
    elif kind == "masks only":
        for path in folder.rglob("*.png"):
            if "_mask" not in path.name:
                path.unlink()
    else:
        shutil.rmtree(folder / "malignant")
        shutil.rmtree(folder / "normal")
    with pytest.raises(DatasetError):
        read_dataset(target)


def test_two_classes_are_enough(folder):
    shutil.rmtree(folder / "normal")
    assert read_dataset(folder).counts()["normal"] == 0


def test_a_manifest_gives_classes_patients_and_sources(folder):
    rows = [
        {"file": "benign/benign (1).png", "class": "Benign", "patient_id": "7", "source": "A"},
        {"file": "malignant/malignant (1).png", "class": "malignant", "patient_id": ""},
        {"file": "malignant/none.png", "class": "malignant", "patient_id": "8", "source": "A"},
    ]  # fmt: skip
    write_manifest(folder, rows)
    data = read_dataset(folder)
    assert [(r.file, r.label, r.patient_id, r.source) for r in data.records] == [
        ("benign/benign (1).png", "benign", "7", "A"),
        ("malignant/malignant (1).png", "malignant", None, "data"),
    ]
    assert ("malignant/none.png", "No such file or directory") in [
        (s.file, s.reason) for s in data.skipped
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"file": "a.png", "class": "cyst"}, "line 2: unknown class 'cyst'"),
        ({"file": "", "class": "benign"}, "line 2: the columns file and class are needed"),
        ({"file": "../a.png", "class": "benign"}, "outside the data folder"),
        ({"file": "/etc/a.png", "class": "benign"}, "outside the data folder"),
    ],
)
def test_a_bad_manifest_line_is_named(folder, row, reason):
    write_manifest(folder, [row], columns=("file", "class"))
    with pytest.raises(DatasetError, match=reason):
        read_dataset(folder)


def test_the_id_depends_on_content_and_not_on_place(dataset, folder):
    assert read_dataset(folder).digest() == dataset.digest()
    Image.fromarray(phantom(99)).save(folder / "benign/benign (1).png")
    assert read_dataset(folder).digest() != dataset.digest()


def test_a_limit_keeps_the_proportions_and_is_seeded(dataset):
    few = limit_records(dataset, 12, seed=1)
    assert few.counts() == {"benign": 5, "malignant": 4, "normal": 3}
    assert few.records == limit_records(dataset, 12, seed=1).records
    assert few.records != limit_records(dataset, 12, seed=2).records
    assert limit_records(dataset, None) is dataset
    assert limit_records(dataset, 1000) is dataset


def test_the_report_counts_groups_and_conflicts(folder):
    shutil.copy(folder / "benign/benign (1).png", folder / "malignant/copy.png")
    shutil.copy(folder / "benign/benign (2).png", folder / "benign/copy.png")
    facts = report(read_dataset(folder))
    assert facts["images"] == 26
    assert facts["near_duplicate_groups"] == 2
    assert facts["conflicts"] == [["benign/benign (1).png", "malignant/copy.png"]]
    assert facts["groups"] == 24
    assert np.isclose(facts["width"]["min"], 110)
