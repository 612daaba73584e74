"""What a model held out: never what it was trained on, whatever split it was made with."""

import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml import evaluate, explain, registry, shortcuts, train
from ml.cli import UsageError
from ml.config import BCWEB
from ml.dataset import Dataset
from ml.duplicates import MAX_HASH_BITS
from ml.finish import data_facts
from ml.heldout import Seen, fold_count, held_out_indices, seen_in_training
from ml.model import PICTURES, read_tensors
from ml.registry import TrainedPictures
from ml.run import everything
from ml.split import split_records
from tests.ml.helpers import record

TINY = ["--epochs", "1", "--size", "64", "--batch-size", "8", "--init", "none", "--bootstraps", "5"]


@pytest.fixture
def data():
    labels = ("benign", "malignant", "normal")
    records = [
        record(
            i,
            labels[i % 3],
            source="second" if i % 4 == 0 else "first",
            sha256=hashlib.sha256(bytes([i])).hexdigest(),
        )
        for i in range(60)
    ]
    return Dataset(Path("made"), tuple(records), ())


def card_of(data, split, **changes):
    facts = {**data_facts(data, split), **changes}
    return {"training": {"config": BCWEB.to_dict(), "data": facts}}


def trained_on(data, split):
    records = [data.records[i] for i in split.train.tolist()]
    return TrainedPictures(frozenset(bytes.fromhex(r.sha256)[:8] for r in records), frozenset())


@pytest.mark.parametrize("kind", ["grouped", "random"])
@pytest.mark.parametrize("fold", [0, 3])
def test_the_part_is_that_of_the_fold_on_the_card(data, kind, fold):
    split = split_records(data.records, fold=fold, kind=kind, validate=False)
    found = held_out_indices(card_of(data, split), data, trained_on(data, split))
    assert found.tolist() == split.held_out.tolist()
    with pytest.raises(UsageError, match=f"held out fold {fold}, not fold 1"):
        held_out_indices(card_of(data, split), data, trained_on(data, split), fold=1)


def test_a_source_that_was_held_out_whole_is_the_part(data):
    sources = np.array([r.source for r in data.records])
    whole = everything(data)
    held_out = whole.train[sources[whole.train] == "second"]
    split = replace(
        whole,
        train=whole.train[sources[whole.train] == "first"],
        held_out=held_out,
        fold=1,
        source="second",
    )
    card = card_of(data, split)
    assert held_out_indices(card, data, trained_on(data, split)).tolist() == held_out.tolist()
    assert fold_count(card, data) == 2


def test_a_card_that_names_no_fold_never_gives_training_pictures(data):
    split = split_records(data.records, fold=2, validate=False)
    card, trained = card_of(data, split, fold=None), trained_on(data, split)
    with pytest.raises(UsageError, match="it held out another fold"):
        held_out_indices(card, data, trained)
    found = held_out_indices(card, data, trained, fold=2)
    assert found.tolist() == split.held_out.tolist()
    with pytest.raises(UsageError, match="--fold must be from 0 to 4"):
        held_out_indices(card, data, trained, fold=5)


def test_a_model_of_everything_has_no_part_for_any_of_the_three_commands(
    data_dir, dataset, model_copy, capsys
):
    state = read_tensors(model_copy)
    card = {**registry.read_card(model_copy), **card_of(dataset, everything(dataset))}
    registry.save_model(model_copy, state, card)
    arguments = ["--data", str(data_dir), "--model", str(model_copy), "--part", "held-out"]
    for command in (evaluate, explain, shortcuts):
        with pytest.raises(UsageError, match="trained on all of this data"):
            command.main(arguments)


def test_pictures_are_known_by_their_bytes_and_by_their_look(data):
    first, second, third = data.records[:3]
    rows = [bytes(TrainedPictures.row(first.sha256, first.phash))]
    assert len(rows[0]) == 16
    trained = TrainedPictures(
        frozenset(row[:8] for row in rows), frozenset(int.from_bytes(r[8:], "big") for r in rows)
    )
    near = replace(second, phash=first.phash ^ (2**MAX_HASH_BITS - 1))
    far = replace(third, phash=first.phash ^ (2 ** (MAX_HASH_BITS + 1) - 1))
    assert seen_in_training({}, trained, data, [first, near, far]) == Seen(1, 1)


def test_a_file_with_digests_only_is_read(model_copy, dataset):
    import torch

    state = read_tensors(model_copy)
    digests = [list(bytes.fromhex(r.sha256)[:8]) for r in dataset.records[:4]]
    rows = torch.tensor(digests, dtype=torch.uint8)
    registry.save_model(model_copy, {**state, PICTURES: rows}, registry.read_card(model_copy))
    trained = registry.trained_pictures(model_copy)
    assert seen_in_training({}, trained, dataset, dataset.records) == Seen(4, 0)


def test_training_pictures_in_another_format_are_told(data_dir, tmp_path, narrow):
    out, other, result = tmp_path / "out", tmp_path / "other", tmp_path / "result.json"
    assert train.main(["--data", str(data_dir), *TINY, "--out", str(out)]) == 0
    shutil.copytree(data_dir, other, ignore=shutil.ignore_patterns("*_mask*"))
    for path in sorted(other.glob("*/*.png")):
        buffer = io.BytesIO()
        Image.open(path).convert("RGB").save(buffer, format="JPEG", quality=95)
        path.with_suffix(".jpg").write_bytes(buffer.getvalue())
        path.unlink()
    model = str(out / "model.safetensors")
    arguments = ["--data", str(other), "--model", model, "--json", str(result)]
    assert evaluate.main([*arguments, "--bootstraps", "5"]) == 0
    found = json.loads(result.read_text())
    trained = registry.read_card(out / "model.safetensors")["training"]["data"]["split"]["train"]
    assert found["n_seen_in_training"] == 0
    assert found["n_alike_in_training"] >= sum(trained.values())
    assert found["seen_in_training"] is True
