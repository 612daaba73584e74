"""Fixtures for the ml package: phantoms on disk and a small network, no Django, no patients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet50

from ml import registry
from ml.calibrate import Calibration
from ml.cards import make_card
from ml.config import BCWEB, TrainConfig
from ml.dataset import Dataset, read_dataset
from ml.model import build_network
from ml.preprocessing import Preprocessing
from ml.run import Run, prepare
from ml.split import Split, split_records
from tests.busi import write_busi


@pytest.fixture(autouse=True)
def _no_override_of_the_shipped_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BCWEB_MODEL", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder per class: 10 benign, 8 malignant, 6 normal phantoms of different sizes, and masks."""
    root = tmp_path_factory.mktemp("phantoms")
    write_busi(root, (10, 8, 6))
    return root


@pytest.fixture(scope="session")
def dataset(data_dir: Path) -> Dataset:
    return read_dataset(data_dir)


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """A run of seconds: 32, then 64 px, three folds, all augmentation, weight averaging."""
    # All layers learn from the start: what is held has tests of its own.
    started = replace(BCWEB, held=(), ema=0.9)
    return replace(started, size=64, epochs=2, batch_size=4, folds=3, stages=((1, 32),))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thinner bottlenecks under the same names: a training step in a tenth of the time."""
    monkeypatch.setattr("ml.model.resnet50", partial(resnet50, width_per_group=4))


@pytest.fixture
def make_run(dataset: Dataset, tiny_config: TrainConfig, tmp_path: Path, narrow: None) -> Any:
    """Prepare a tiny run: ``make_run(out_name, **changes of the config)``."""

    def make(name: str = "out", **changes: Any) -> Run:
        config = tiny_config.changed(**changes)
        return prepare(dataset, config, tmp_path / name, device="cpu")

    return make


@pytest.fixture(scope="session")
def split(dataset: Dataset, tiny_config: TrainConfig) -> Split:
    return split_records(dataset.records, folds=tiny_config.folds, seed=tiny_config.seed)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid model file with random weights, 64 px, for tests of everything but accuracy."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    card = make_card(
        version="tests-only",
        layout="v1-layer3",
        preprocessing=Preprocessing(size=64),
        calibration=Calibration(1.5, 0.35, 0.95, 0.0, 0.1, 1.0),
    )
    registry.save_model(path, build_network("v1-layer3").state_dict(), card)
    return path


@pytest.fixture
def model_copy(model_file: Path, tmp_path: Path) -> Path:
    """A copy of the model file that a test may damage."""
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(model_file.read_bytes())
    registry.card_path(copy).write_bytes(registry.card_path(model_file).read_bytes())
    return copy


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of shared data; the test is skipped where it is absent."""
    default = Path(__file__).parents[3] / "shared"
    path = Path(os.environ.get("BCWEB_SHARED", default))
    if not (path / "data" / "busi").is_dir():
        pytest.skip("no shared data: set BCWEB_SHARED to the folder that holds data/busi")
    return path
