import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from ml.dataset import limit_records, read_dataset
from ml.errors import DatasetError
from ml.importer import import_dataset, report, report_text
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
        ({"file": "benign\\..\\..\\a.png", "class": "benign"}, "outside the data folder"),
        ({"file": "C:\\a.png", "class": "benign"}, "outside the data folder"),
        ({"file": "a\0.png", "class": "benign"}, "the file's name cannot be one"),
    ],
)
def test_a_bad_manifest_line_is_named(folder, row, reason):
    write_manifest(folder, [row], columns=("file", "class"))
    with pytest.raises(DatasetError, match=reason):
        read_dataset(folder)


def manifest_text(folder, text, encoding="utf-8"):
    (folder / "manifest.csv").write_bytes(text.encode(encoding))


BOTH = "benign/benign (1).png,benign\nmalignant/malignant (1).png,malignant\n"


@pytest.mark.parametrize(
    ("text", "encoding", "reason"),
    [
        ("file;class\nbenign/benign (1).png;benign\n", "utf-8", "must be separated by commas"),
        ("file\tclass\na.png\tbenign\n", "utf-8", "must be separated by commas"),
        ("file,class\nbösartig.png,benign\n", "latin-1", "is not UTF-8 text"),
        ("file,class\n" + BOTH, "utf-16", "is not UTF-8 text"),
        ("name,class\n" + BOTH, "utf-8", "line 1: the columns file and class are needed"),
        ("", "utf-8", "line 1: the columns file and class are needed"),
        ("file,class,file\n" + BOTH, "utf-8", "a column stands there twice"),
        ("file,class\na.png,benign,x\n", "utf-8", "line 2: more cells than columns"),
        ('file,class\n"a.png,benign\n', "utf-8", "line 2: unexpected end of data"),
        (
            "file,class\n" + BOTH + "./benign//benign (1).png,malignant\n",
            "utf-8",
            r"line 4: benign/benign \(1\)\.png stands on line 2 already, with other entries",
        ),
        (
            "file,class,patient_id\na.png,benign,1\na.png,benign,2\n",
            "utf-8",
            "line 3: a.png stands on line 2 already",
        ),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(folder, text, encoding, reason):
    manifest_text(folder, text, encoding)
    with pytest.raises(DatasetError, match=reason):
        read_dataset(folder)


def test_a_manifest_from_a_spreadsheet_is_read(folder):
    manifest_text(
        folder,
        "File, Class ,BIRADS,Laterality,histology,device,notes\r\n"
        '"benign\\benign (1).png", BENIGN ,4A,left,"cyst, simple",GE,x\r\n'
        ",,,,,,\r\n"
        "malignant/malignant (1).png,malignant\r\n"
        "malignant/malignant (1).png,malignant\r\n",
        "utf-8-sig",
    )
    first, second = read_dataset(folder).records
    assert (first.file, first.label) == ("benign/benign (1).png", "benign")
    assert (first.birads, first.side, first.histology) == ("4A", "left", "cyst, simple")
    assert first.device == "GE"
    assert first.masks == ("benign/benign (1)_mask.png",)
    assert (second.file, second.device) == ("malignant/malignant (1).png", "")


def test_a_manifest_may_be_given_itself_and_what_it_leaves_out_is_no_orphan(folder):
    path = folder / "some.csv"
    path.write_text("file,class\n" + BOTH)
    data = read_dataset(path)
    assert [r.file for r in data.records] == BOTH.replace(",benign", "").replace(
        ",malignant", ""
    ).splitlines()
    assert data.skipped == ()
    assert data.root == folder
    with pytest.raises(DatasetError, match="neither a folder nor a"):
        read_dataset(folder / "benign/benign (1).png")


def test_a_folder_of_sets_is_read_whole_and_names_what_is_none(folder, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(folder, both / "one")
    shutil.copytree(folder, both / "two")
    (both / "two" / "dataset.json").write_text('{"name": "second"}')
    (both / "papers").mkdir()
    data = read_dataset(both)
    assert len(data.records) == 48
    assert {r.source for r in data.records} == {"one", "second"}
    assert all(r.file.startswith(("one/", "two/")) for r in data.records)
    assert [(s.file, s.reason) for s in data.skipped] == [("papers", "a folder without classes")]


def test_a_dataset_json_that_is_none_is_refused(folder):
    (folder / "dataset.json").write_text("[1")
    with pytest.raises(DatasetError, match="is not JSON"):
        read_dataset(folder)
    (folder / "dataset.json").write_text("[1]")
    with pytest.raises(DatasetError, match="is not a JSON object"):
        read_dataset(folder)


@pytest.mark.parametrize("what", ["picture", "mask", "class folder"])
def test_an_import_follows_no_link_out_of_the_folder(folder, tmp_path, what):
    outside = tmp_path / "outside"
    (folder / "benign").rename(outside)
    if what == "class folder":
        (folder / "benign").symlink_to(outside)
    else:
        shutil.copytree(outside, folder / "benign")
        name = "benign (1).png" if what == "picture" else "benign (1)_mask.png"
        (folder / "benign" / name).unlink()
        (folder / "benign" / name).symlink_to(outside / name)
    with pytest.raises(DatasetError, match=r"benign \(1.* is a link that leads out"):
        import_dataset(folder)
    # Training and measuring may: those are the user's own files.
    assert read_dataset(folder).counts()["benign"] == 10


def test_an_import_follows_links_within_the_folder(folder):
    (folder / "benign" / "again.png").symlink_to(folder / "benign" / "benign (1).png")
    assert import_dataset(folder).report["same_bytes"] == 1


def test_strange_names_stay_on_one_line(folder):
    (folder / "benign" / "benign (1).png").rename(folder / "benign" / "a\nb\x1b[31m.png")
    shutil.copy(folder / "benign/benign (2).png", bytes(folder / "benign") + b"/\xff.png")
    shutil.copy(folder / "benign/benign (3).png", folder / "malignant" / "c\nd.png")
    found = import_dataset(folder)
    assert [(s.file, s.reason) for s in found.dataset.skipped] == [
        ("benign/\\udcff.png", "the name is not UTF-8"),
        ("benign/benign (1)_mask.png", "a mask without its picture"),
    ]
    text = report_text(found.report)
    assert "c\\nd.png" in text
    assert "\x1b" not in text


def test_where_no_file_can_be_read_the_first_and_its_reason_are_told(folder):
    manifest_text(folder, "file,class\nno.png,benign\nnot.png,malignant\n")
    with pytest.raises(DatasetError, match=r"no\.png: No such file or directory"):
        read_dataset(folder)


def test_a_folder_in_place_of_a_picture_is_named(folder):
    manifest_text(folder, "file,class\n" + BOTH + "benign,benign\n")
    assert [(s.file, s.reason) for s in read_dataset(folder).skipped] == [
        ("benign", "Is a directory")
    ]


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
    assert facts["near_duplicate_images"] == 4
    assert facts["same_bytes"] == 2
    assert facts["conflicts"] == [["benign/benign (1).png", "malignant/copy.png"]]
    assert facts["quarantined_images"] == 2
    assert facts["groups"] == 24
    assert facts["largest_group"] == 2
    assert facts["sources"] == {"data": {"benign": 11, "malignant": 9, "normal": 6}}
    assert np.isclose(facts["width"]["min"], 110)


def test_the_report_names_masks_that_cannot_be_used(folder):
    def mask(label, number, size, value):
        path = folder / label / f"{label} ({number})_mask.png"
        Image.fromarray(np.full(size, value, dtype=np.uint8)).save(path)

    for record in read_dataset(folder).records:
        number = record.file.split("(")[1].split(")")[0]
        mask(record.label, number, (record.height, record.width), 255)
    mask("benign", 1, (20, 20), 255)
    (folder / "benign/benign (3)_mask.png").write_bytes(b"no picture")
    with Image.open(folder / "benign/benign (2).png") as image:
        mask("benign", 2, image.size[::-1], 0)
    with Image.open(folder / "normal/normal (1).png") as image:
        mask("normal", 1, image.size[::-1], 0)
    facts = report(read_dataset(folder))
    assert facts["masks_empty"] == 2
    assert facts["masks_unusable"] == [
        {"file": "benign/benign (1)_mask.png", "reason": "not of its picture's size"},
        {"file": "benign/benign (2)_mask.png", "reason": "empty"},
        {"file": "benign/benign (3)_mask.png", "reason": "the file is not a JPEG or PNG picture"},
    ]


def test_a_manifest_line_that_names_a_mask_is_refused(folder):
    lines = ("file,class", "benign/benign (1).png,benign", "benign/x_mask.png,benign")
    (folder / "manifest.csv").write_text("\n".join(lines))
    with pytest.raises(DatasetError, match=r"line 3: benign/x_mask\.png is a mask"):
        read_dataset(folder)
