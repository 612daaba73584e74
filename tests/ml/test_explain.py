"""Where maps point, the pointing game and its baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from ml import registry
from ml.cli import UsageError
from ml.dataset import Dataset, read_dataset
from ml.errors import DatasetError, ModelFileError
from ml.explain import explain_crossval, explain_model, main, peak, point_at, upsample
from ml.inference import Predictor
from ml.model import build_network
from ml.pointing import Lesions, best_fixed_point, dilated, pointing_game, read_lesions
from ml.preprocessing import Preprocessing
from ml.split import split_records
from tests.ml.helpers import phantom, record

FOLDS = 3


@pytest.fixture(scope="module")
def masked_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine benign and nine malignant phantoms with an oval mask, three normal ones without."""
    root = tmp_path_factory.mktemp("masked")
    for label, count in (("benign", 9), ("malignant", 9), ("normal", 3)):
        (root / label).mkdir()
        for number in range(count):
            seed = 100 * count + number + len(label)
            pixels = phantom(seed, size=(100, 120 + number), lesion=label)  # type: ignore[arg-type]
            stem = root / label / f"{label} ({number})"
            Image.fromarray(pixels).save(f"{stem}.png")
            if label != "normal":
                y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
                oval = ((x - 60) / 20) ** 2 + ((y - 45) / (8 + number)) ** 2 < 1
                Image.fromarray(np.where(oval, 255, 0).astype(np.uint8)).save(f"{stem}_mask.png")
    return root


@pytest.fixture(scope="module")
def masked(masked_dir: Path) -> Dataset:
    return read_dataset(masked_dir)


def card_for(
    dataset: Dataset, model_file: Path, fold: int | None = None, **settings: Any
) -> dict[str, Any]:
    card = registry.read_card(model_file)
    config = {"folds": FOLDS, "seed": 5, **settings}
    data = {"digest": dataset.digest(), "split": {"held_out": {"benign": 1}}, "fold": fold}
    return {**card, "training": {"config": config, "data": data}}


@pytest.fixture
def folds_dir(masked: Dataset, model_file: Path, narrow: None, tmp_path: Path) -> Path:
    """A folder as ``ml.crossval --out`` leaves it: an untrained network a fold."""
    for fold in range(FOLDS):
        torch.manual_seed(fold)
        path = tmp_path / f"fold-{fold}" / "model.safetensors"
        state = build_network("v1-layer3").state_dict()
        registry.save_model(path, state, card_for(masked, model_file, fold))
    return tmp_path


def test_the_upsampled_map_is_bilinear_between_the_centres_of_cells() -> None:
    cells = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    ours = upsample(cells, (0, 0, 224, 224), width=224, height=224)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(cells)[None, None], size=224, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-5)


def test_the_maximum_of_the_map_is_the_centre_of_its_largest_cell_in_original_pixels() -> None:
    cells = np.random.default_rng(1).normal(size=(7, 7)).astype(np.float32)
    box = (-100.0, 0.0, 600.0, 700.0)
    whole = upsample(cells, box, width=700, height=700)
    x, y = peak(cells, box)
    row, column = np.unravel_index(whole.argmax(), whole.shape)
    assert abs(column + 0.5 - x) <= 1
    assert abs(row + 0.5 - y) <= 1
    assert whole.max() <= cells.max()


def test_a_mask_reaches_exactly_sixteen_pixels_of_an_input_of_224() -> None:
    mask = np.zeros((224, 224), dtype=np.uint8)
    mask[100, 100] = 255
    near = dilated(mask)
    assert near.shape == (56, 56)
    assert near[25, 21]
    assert not near[25, 20]
    assert near[28, 27]  # 12 down and 8 across: 14.4
    assert not near[28, 28]  # 12 and 12: 17.0


def made_lesions(reach: npt.NDArray[np.bool_], label: str = "malignant") -> Lesions:
    records = tuple(record(i, label) for i in range(len(reach)))
    return Lesions(records, reach, np.ones_like(reach), np.linspace(0.01, 0.3, len(reach)))


def test_rates_baselines_and_differences_are_those_counted_by_hand() -> None:
    reach = np.zeros((6, 8, 8), dtype=np.bool_)
    reach[:, 2, 2] = [True, True, True, True, True, False]
    reach[:, 4, 4] = [True, False, False, False, False, False]
    reach[5, 7, 7] = True
    points = np.array([[2, 2], [2, 2], [2, 2], [0, 0], [0, 0], [7, 7]])
    found = pointing_game(
        made_lesions(reach), points, np.arange(6), folds=np.arange(6) % 2, groups=np.arange(6)
    )
    row = found["per_source"]["made"]["malignant"]
    assert (row["n"], row["n_groups"]) == (6, 6)
    assert row["hit_rate"] == pytest.approx(4 / 6)
    assert row["centre"] == pytest.approx(1 / 6)
    assert row["fixed_point"] == pytest.approx(5 / 6)
    assert row["over_better"] == pytest.approx(-1 / 6)
    assert row["ci95"]["hit_rate"][0] < 4 / 6 < row["ci95"]["hit_rate"][1]
    assert [third["n"] for third in row["per_area"]] == [2, 2, 2]
    assert [third["hit_rate"] for third in row["per_area"]] == [1.0, 0.5, 0.5]
    assert found["per_class"]["malignant"]["hit_rate"] == row["hit_rate"]


def test_the_fixed_point_for_a_fold_comes_from_the_other_folds() -> None:
    reach = np.zeros((4, 8, 8), dtype=np.bool_)
    reach[:2, 1, 1] = True
    reach[2:, 6, 6] = True
    folds = np.array([0, 0, 1, 1])
    args = (made_lesions(reach), np.zeros((4, 2), dtype=np.int64), np.arange(4))
    found = pointing_game(*args, folds=folds, groups=np.arange(4))
    # Chosen on the measured pictures themselves it would hit half of them.
    assert found["per_class"]["malignant"]["fixed_point"] == 0.0


def test_near_duplicates_widen_the_interval() -> None:
    reach = np.zeros((40, 8, 8), dtype=np.bool_)
    reach[:20, 0, 0] = True
    args = (made_lesions(reach), np.zeros((40, 2), dtype=np.int64), np.arange(40))
    folds = np.arange(40) % 2

    def width(groups: npt.NDArray[np.int64]) -> float:
        row = pointing_game(*args, folds=folds, groups=groups)["per_class"]["malignant"]
        low, high = row["ci95"]["hit_rate"]
        return float(high - low)

    assert width(np.arange(40) // 10) > 1.5 * width(np.arange(40))


def test_of_several_best_points_the_middle_one_is_taken() -> None:
    reach = np.zeros((3, 8, 8), dtype=np.bool_)
    reach[:, 2:7, 1:6] = True
    assert best_fixed_point(reach) == (4, 3)
    assert best_fixed_point(reach[:0]) == (4, 4)


def test_masks_lie_where_the_picture_lies(masked: Dataset) -> None:
    lesions = read_lesions(masked, masked.records, Preprocessing(crop="none", size=64))
    assert {r.label for r in lesions.records} == {"benign", "malignant"}
    rows, columns = np.nonzero(lesions.reach[0])
    # The oval is centred at (60, 45) of a 120 x 100 picture that is padded above and below.
    assert 4 * columns.mean() == pytest.approx(60 / 120 * 64, abs=3)
    assert 4 * rows.mean() == pytest.approx((45 + 10) / 120 * 64, abs=3)
    assert not lesions.inside[0, 0].any()
    assert lesions.inside[0, 8].all()
    assert lesions.areas[0] == pytest.approx(np.pi * 20 * 8 / (100 * 120), rel=0.05)


def test_data_without_masks_is_an_error(dataset: Dataset) -> None:
    normal = [r for r in dataset.records if r.label == "normal"]
    assert all(r.masks for r in normal)  # empty ones
    with pytest.raises(DatasetError, match="lesion mask"):
        read_lesions(dataset, normal, Preprocessing(size=64))


def test_a_point_is_where_the_served_map_is_largest(masked: Dataset, model_file: Path) -> None:
    predictor = Predictor(model_file, device="cpu")
    records = masked.records[:3]
    points = point_at(predictor, masked, records)
    for row, one in zip(points.tolist(), records, strict=True):
        (answer,) = predictor.predict([(masked.root / one.file).read_bytes()])
        x, y = peak(answer.heatmap[one.target], answer.heatmap_box)
        x0, y0, x1, y1 = answer.heatmap_box
        assert 4 * row[0] == pytest.approx((y - y0) / (y1 - y0) * 64, abs=1e-6)
        assert 4 * row[1] == pytest.approx((x - x0) / (x1 - x0) * 64, abs=1e-6)


def test_one_model_is_measured_on_every_picture_with_a_mask(
    masked: Dataset, model_file: Path
) -> None:
    predictor = Predictor(model_file, device="cpu")
    found = explain_model(predictor, masked, rounds=20)
    assert found["n"] == 18
    assert found["seen_in_training"] is False
    assert found["data"]["digest"] == masked.digest()
    assert explain_model(predictor, masked, limit=4, rounds=20)["n"] == 4
    with pytest.raises(UsageError, match="not trained on this data"):
        explain_model(predictor, masked, part="held-out")


def test_the_held_out_part_is_that_of_the_models_own_split(
    masked: Dataset, folds_dir: Path
) -> None:
    predictor = Predictor(folds_dir / "fold-1" / "model.safetensors", device="cpu")
    found = explain_model(predictor, masked, part="held-out", rounds=20)
    held_out = split_records(masked.records, folds=FOLDS, seed=5, fold=1).held_out
    assert found["n"] == sum(bool(masked.records[i].masks) for i in held_out.tolist())


def test_out_of_fold_each_picture_is_measured_once_by_the_model_that_did_not_see_it(
    masked: Dataset, folds_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, str]] = []

    def spy(predictor: Predictor, dataset: Dataset, records: Any) -> Any:
        asked.extend((predictor.model.path, r.file) for r in records)
        return point_at(predictor, dataset, records)

    monkeypatch.setattr("ml.explain.point_at", spy)
    found = explain_crossval(folds_dir, masked, device="cpu", rounds=20)
    assert found["n"] == 18 == len({file for _, file in asked}) == len(asked)
    for fold in range(FOLDS):
        held_out = split_records(masked.records, folds=FOLDS, seed=5, fold=fold).held_out
        names = {masked.records[i].file for i in held_out.tolist() if masked.records[i].masks}
        assert {file for path, file in asked if path.parent.name == f"fold-{fold}"} == names


def test_folds_of_different_splits_are_refused(
    masked: Dataset, folds_dir: Path, model_file: Path
) -> None:
    path = folds_dir / "fold-1" / "model.safetensors"
    state = build_network("v1-layer3").state_dict()
    registry.save_model(path, state, card_for(masked, model_file, seed=6))
    with pytest.raises(UsageError, match="one and the same split"):
        explain_crossval(folds_dir, masked, device="cpu")


def test_folds_without_a_model_are_left_out_and_named_and_none_at_all_is_an_error(
    masked: Dataset, folds_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen_on: list[int] = []

    def spy(reach: Any) -> Any:
        chosen_on.append(len(reach))
        return best_fixed_point(reach)

    monkeypatch.setattr("ml.pointing.best_fixed_point", spy)
    (folds_dir / "fold-0" / "model.safetensors").unlink()
    found = explain_crossval(folds_dir, masked, device="cpu", rounds=20)
    left = [split_records(masked.records, folds=FOLDS, seed=5, fold=k).held_out for k in (1, 2)]
    held_out = np.concatenate(left).tolist()
    assert found["n"] == sum(bool(masked.records[i].masks) for i in held_out)
    assert found["folds_measured"] == [1, 2] and found["folds"] == FOLDS
    # The baseline is as strong as with all models: pictures without a score help to choose it.
    kinds, lesions = 2, 18
    assert sum(chosen_on) == 2 * lesions - found["n"] and len(chosen_on) == 2 * kinds
    for path in folds_dir.glob("fold-*/model.safetensors"):
        path.unlink()
    with pytest.raises(ModelFileError):
        explain_crossval(folds_dir, masked, device="cpu")


def test_the_command_prints_a_table_and_writes_the_figures(
    masked_dir: Path, folds_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "heatmap.json"
    command = ["--data", str(masked_dir), "--crossval", str(folds_dir), "--bootstraps", "20"]
    assert main([*command, "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["out_of_fold"] is True
    assert set(written["per_class"]) == {"benign", "malignant"}
    assert f"{masked_dir.name} malignant" in capsys.readouterr().out
    with pytest.raises(UsageError):
        main([*command, "--part", "held-out"])
