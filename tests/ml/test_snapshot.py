import io
import json
import shutil
import stat
from functools import partial

import numpy as np
import pytest
from PIL import Image

from ml import dataset as dataset_command
from ml import snapshot as snapshot_command
from ml.cli import UsageError, run_cli
from ml.contact_sheet import PAGE, contact_sheets
from ml.dataset import read_dataset
from ml.duplicates import RULE, RULE_IN_IDS, group_records
from ml.errors import DatasetError
from ml.importer import import_dataset
from ml.snapshot import (
    build_snapshot,
    content_id,
    load_snapshot,
    save_snapshot,
    stored_split,
    to_json,
    verify_snapshot,
)
from ml.split import split_records


@pytest.fixture
def folder(data_dir, tmp_path):
    """A copy of the phantoms that a test may spoil, with one duplicate and one conflict."""
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    shutil.copy(copy / "benign/benign (1).png", copy / "benign/copy.png")
    shutil.copy(copy / "benign/benign (2).png", copy / "malignant/copy.png")
    return copy


@pytest.fixture
def document(folder):
    return build_snapshot(read_dataset(folder), folds=3)


def entry(document, name):
    return next(f for f in document["files"] if f["file"] == name)


def write_manifest(folder, patients):
    rows = [
        f"{path.relative_to(folder).as_posix()},{path.parent.name},{patient},MX,4"
        for path, patient in patients.items()
    ]
    text = "\n".join(["file,class,patient_id,device,birads", *rows]) + "\n"
    (folder / "manifest.csv").write_text(text)


def test_a_snapshot_tells_of_every_picture(document, folder):
    assert document["classes"] == {"benign": 11, "malignant": 9, "normal": 6}
    assert [f["file"] for f in document["files"]] == sorted(f["file"] for f in document["files"])
    assert document["grouping"] == {
        "rule": RULE,
        "groups": 24,
        "near_duplicate_groups": 2,
        "conflicting_groups": 1,
        "quarantined_images": 2,
    }
    one, copy = entry(document, "benign/benign (1).png"), entry(document, "benign/copy.png")
    assert one["sha256"] == copy["sha256"]
    assert one["group"] == copy["group"]
    assert one["near_duplicates"] == copy["near_duplicates"] is not None
    assert not one["quarantined"]
    (mask,) = one["masks"]
    assert mask["file"] == "benign/benign (1)_mask.png"
    assert entry(document, "malignant/copy.png")["quarantined"]
    with Image.open(folder / one["file"]) as image:
        assert image.size == (one["width"], one["height"])
    assert int(one["phash"], 16) == read_dataset(folder).records[0].phash
    assert entry(document, "normal/normal (1).png")["near_duplicates"] is None


def test_the_id_is_the_hash_of_the_content_and_survives_a_round_trip(document, tmp_path):
    path = tmp_path / "out"
    assert save_snapshot(document, path)
    loaded = load_snapshot(path / "snapshot.json")
    assert loaded == document
    assert loaded["id"] == content_id(loaded)


def test_the_same_data_elsewhere_has_the_same_id_and_no_path_of_the_machine(
    document, folder, tmp_path
):
    other = tmp_path / "elsewhere" / "another name"
    shutil.copytree(folder, other)
    again = build_snapshot(read_dataset(other), folds=3)
    assert again["id"] == document["id"]
    assert again["name"] == "another name"
    assert str(tmp_path) not in to_json(document)


@pytest.mark.parametrize("change", ["picture", "mask", "class", "seed", "folds", "licence"])
def test_other_content_has_another_id(document, folder, change):
    options = {"folds": 3}
    if change == "picture":
        Image.fromarray(np.full((90, 90), 7, dtype=np.uint8)).save(folder / "normal/normal (1).png")
    elif change == "mask":
        path = folder / "normal/normal (1)_mask.png"
        Image.fromarray(np.full((90, 90), 7, dtype=np.uint8)).save(path)
    elif change == "class":
        (folder / "normal/normal (1).png").rename(folder / "benign/normal (1).png")
    elif change == "seed":
        options["seed"] = 1
    elif change == "folds":
        options["folds"] = 4
    else:
        options["licences"] = {"data": "CC BY 4.0"}
    assert build_snapshot(read_dataset(folder), **options)["id"] != document["id"]


def test_patients_are_numbers_and_never_their_ids(folder):
    pictures = [p for p in sorted(folder.rglob("*.png")) if "_mask" not in p.name]
    write_manifest(folder, {p: f"SECRET-{i // 2}" for i, p in enumerate(pictures)})
    document = build_snapshot(read_dataset(folder), folds=3)
    assert "SECRET" not in to_json(document)
    assert [f["patient"] for f in document["files"]][:4] == [0, 0, 1, 1]
    assert document["files"][0]["device"] == "MX"
    assert document["files"][0]["birads"] == "4"


def test_a_patient_under_a_keyed_hash_keeps_that_name_in_every_document(folder):
    pictures = [p for p in sorted(folder.rglob("*.png")) if "_mask" not in p.name]
    key = "hmac-sha256:" + "5" * 64
    # What is no such hash is a number, as ever.
    names = [key, key, f"{key}0", "P-7", *(f"SECRET-{i}" for i in range(len(pictures) - 4))]
    write_manifest(folder, dict(zip(pictures, names, strict=True)))
    document = build_snapshot(read_dataset(folder), folds=3)
    assert [f["patient"] for f in document["files"]][:4] == [key, key, 0, 1]


@pytest.mark.parametrize("kind", ["grouped", "random"])
def test_the_stored_splits_are_those_that_training_makes(document, folder, kind):
    data = read_dataset(folder)
    for fold in range(3):
        split = split_records(data.records, folds=3, fold=fold, kind=kind)
        stored = stored_split(document, data, kind=kind, fold=fold)
        for part in ("train", "validation", "held_out"):
            assert stored[part] == [data.records[i] for i in getattr(split, part).tolist()]
    held_out = split_records(data.records, folds=5, kind=kind).held_out
    assert stored_split(document, data, kind=kind)["held_out"] == [
        data.records[i] for i in held_out.tolist()
    ]


def test_the_random_split_says_that_it_leaks(document):
    random = document["splits"]["random"]
    assert "only reported beside the grouped split" in random["note"]
    everything = {i for fold in random["folds"] for i in fold["held_out"]}
    assert len(everything) == 26  # the quarantined too, as in the paper
    grouped = document["splits"]["grouped"]
    assert all(fold["held_out_of_parted_groups"] == 0 for fold in grouped["folds"])
    assert sum(fold["held_out_of_parted_groups"] for fold in random["folds"]) > 0


def test_a_stored_split_is_refused_for_other_data_or_no_such_fold(document, folder):
    with pytest.raises(DatasetError, match="has 3 folds"):
        stored_split(document, read_dataset(folder), fold=3)
    (folder / "benign/copy.png").unlink()
    with pytest.raises(DatasetError, match="is not the data of snapshot"):
        stored_split(document, read_dataset(folder))


def test_origin_and_terms_come_from_the_sets_own_files_or_from_the_caller(folder, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(folder, both / "a")
    shutil.copytree(folder, both / "b")
    about = {"licence": "CC BY 4.0", "citation": "A. Author, 2020", "url": "https://example.org"}
    (both / "a" / "dataset.json").write_text(json.dumps(about))
    (both / "b" / "LICENSE.txt").write_text("\nUse with citation\nmore\n")
    data = read_dataset(both)
    a, b = build_snapshot(data, folds=3)["sources"]
    assert (a["source"], a["licence"], a["citation"]) == ("a", "CC BY 4.0", "A. Author, 2020")
    assert a["url"] == "https://example.org"
    assert (b["licence"], len(b["licence_sha256"])) == ("Use with citation", 64)
    given = build_snapshot(data, folds=3, licences={"b": "asked in writing"})["sources"]
    assert [s["licence"] for s in given] == ["CC BY 4.0", "asked in writing"]
    with pytest.raises(UsageError, match="no source 'c'; the sources are a, b"):
        build_snapshot(data, folds=3, licences={"c": "x"})


def test_files_that_are_as_they_were_are_verified(document, folder):
    assert verify_snapshot(document, folder) == 26 + 24


@pytest.mark.parametrize("name", ["benign/benign (3).png", "benign/benign (3)_mask.png"])
@pytest.mark.parametrize("what", ["changed", "missing"])
def test_the_first_file_that_differs_or_is_missing_is_named(document, folder, name, what):
    (folder / "normal/normal (2).png").unlink()
    if what == "changed":
        (folder / name).write_bytes(b"other")
    else:
        (folder / name).unlink()
    with pytest.raises(DatasetError, match=r"^benign/benign \(3\)"):
        verify_snapshot(document, folder)


def spoilt(document, how):
    text = to_json(document)
    if how == "cut":
        return text[: len(text) // 2]
    if how == "changed":
        return text.replace('"quarantined": true', '"quarantined": false', 1)
    if how == "other format":
        return text.replace('"format": 1', '"format": 2', 1)
    if how == "a list":
        return "[1]"
    changed = json.loads(text)
    changed["files"][0]["file"] = "../../secret" if how == "climbs" else "/etc/passwd"
    changed["id"] = content_id(changed)
    return json.dumps(changed)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("cut", "it is not JSON"),
        ("changed", "its content does not have its id"),
        ("other format", "is no snapshot that this version reads"),
        ("a list", "is no snapshot that this version reads"),
        ("climbs", "names a file outside the data folder"),
        ("absolute", "names a file outside the data folder"),
    ],
)
def test_a_spoilt_snapshot_is_refused(document, tmp_path, how, reason):
    path = tmp_path / "snapshot.json"
    path.write_text(spoilt(document, how))
    with pytest.raises(DatasetError, match=reason):
        load_snapshot(path)


def test_a_snapshot_never_changes(document, folder, tmp_path):
    out = tmp_path / "out"
    assert save_snapshot(document, out)
    before = (out / "snapshot.json").read_bytes()
    later = {**document, "created_at": "2030-01-01T00:00:00+00:00"}
    assert not save_snapshot(later, out)
    with pytest.raises(DatasetError, match="holds another snapshot"):
        save_snapshot(build_snapshot(read_dataset(folder), folds=4), out)
    assert (out / "snapshot.json").read_bytes() == before


def test_what_goes_beside_a_snapshot_is_there_before_it(document, tmp_path):
    def fail(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_snapshot(document, tmp_path / "out", beside=fail)
    assert not (tmp_path / "out" / "snapshot.json").exists()


def test_contact_sheets_show_conflicts_first_in_a_thick_frame(folder):
    found = import_dataset(folder)
    (page,) = contact_sheets(found.dataset, found.grouping)
    image = Image.open(io.BytesIO(page)).convert("RGB")
    assert image.width == PAGE[0]
    pixels = np.asarray(image).astype(int)

    def first_row_of(colour):
        near = np.abs(pixels - np.array(colour)).sum(axis=2) < 60
        return int(np.flatnonzero(near.any(axis=1))[0]), int(near.sum())

    conflict, alike = first_row_of((0xD5, 0x5E, 0x00)), first_row_of((0x00, 0x72, 0xB2))
    assert conflict[0] < alike[0]
    assert conflict[1] > 2 * alike[1]


def test_many_groups_fill_several_pages_and_none_makes_none(data_dir, folder):
    data = read_dataset(data_dir)
    assert list(contact_sheets(data, group_records(data.records))) == []
    for number in range(1, 9):
        for copy in range(9 * (number == 1) + 2):
            source = folder / "malignant" / f"malignant ({number}).png"
            shutil.copy(source, folder / "malignant" / f"{number} {copy} {'long ' * 20}.png")
    for number in range(3, 11):
        source = folder / "benign" / f"benign ({number}).png"
        shutil.copy(source, folder / "benign" / f"again {number}.png")
    found = import_dataset(folder)
    pages = list(contact_sheets(found.dataset, found.grouping))
    assert len(pages) == 2
    assert all(Image.open(io.BytesIO(p)).height <= PAGE[1] for p in pages)


def test_the_command_saves_and_verifies(folder, tmp_path, capsys):
    out = tmp_path / "kept"
    arguments = [str(folder), "--snapshot", str(out), "--folds", "3", "--licence", "data=CC BY"]
    assert dataset_command.main(arguments) == 0
    names = sorted(p.name for p in out.iterdir())
    assert names == ["contact-sheet-01.jpg", "report.json", "report.txt", "snapshot.json"]
    text = (out / "report.txt").read_text()
    assert "data: licence: CC BY" in text
    document = load_snapshot(out / "snapshot.json")
    assert document["id"] in text
    assert json.loads((out / "report.json").read_text())["snapshot"] == document["id"]
    assert not any(str(tmp_path) in p.read_text() for p in out.glob("*.[jt][sx][ot]*"))
    assert stat.S_IMODE((out / "snapshot.json").stat().st_mode) == 0o644
    assert "saved: " in capsys.readouterr().out
    assert dataset_command.main(arguments) == 0
    assert "there already: " in capsys.readouterr().out
    assert snapshot_command.main([str(out / "snapshot.json"), str(folder)]) == 0
    assert "50 files as they were" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--licence", "data"], "--licence takes SOURCE=TEXT"),
        (["--licence", "other=x"], "there is no source 'other'"),
        (["--folds", "1"], "--folds must be at least 2"),
        (["--folds", "30"], "too few for 30 folds"),
    ],
)
def test_bad_options_end_with_2_and_write_nothing(folder, tmp_path, capsys, arguments, reason):
    out = tmp_path / "kept"
    call = [str(folder), "--snapshot", str(out), *arguments]
    assert run_cli(partial(dataset_command.main, call)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert not out.exists()


def test_the_wording_of_the_rule_is_not_in_the_id(document):
    before = {**document["grouping"], "rule": RULE_IN_IDS}
    assert content_id({**document, "grouping": before}) == document["id"]
    other = {**document["grouping"], "rule": "another rule"}
    assert content_id({**document, "grouping": other}) != document["id"]
