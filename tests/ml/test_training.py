import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.augment import augment
from ml.config import BCWEB, PAPER, RECIPES, AugmentConfig, TrainConfig
from ml.distributed import Loop
from ml.errors import (
    DatasetError,
    ModelFileError,
    NonFiniteLossError,
    OutOfMemoryError,
    TrainingCancelledError,
)
from ml.evaluate import evaluation, lesion_areas, score_records
from ml.figures import write_figures
from ml.finish import finish
from ml.inference import Predictor
from ml.initial import initial_network
from ml.model import build_network
from ml.preprocessing import PREPROCESSING
from ml.registry import load_model, save_model
from ml.run import CHECKPOINT, WEIGHTS, fit, prepare
from ml.split import split_records
from ml.trainer import Trainer, TrainingData
from tests.ml.helpers import phantom

CANVAS = np.repeat(phantom(1, size=(128, 128))[:, :, None], 3, axis=2)
COLUMNS = ("epoch", "train_loss", "val_loss", "val_auc_malignant")


def losses(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.trainer.history]


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_settings_survive_json(recipe):
    config = RECIPES[recipe]
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.digest() != replace(config, seed=5).digest()


def test_augmentation_is_drawn_from_its_generator_alone():
    first = augment(CANVAS, 96, BCWEB.augment, np.random.default_rng(5))[0]
    second = augment(CANVAS, 96, BCWEB.augment, np.random.default_rng(5))[0]
    other = augment(CANVAS, 96, BCWEB.augment, np.random.default_rng(6))[0]
    assert first.shape == (96, 96, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_augmentation_switched_off_only_resizes():
    plain, _ = augment(CANVAS, 128, AugmentConfig(flip=0.0), np.random.default_rng(0))
    assert np.abs(plain.astype(int) - CANVAS).max() <= 1


def test_a_flip_is_horizontal():
    canvas = np.zeros((64, 64, 3), np.uint8)
    canvas[:20, :20] = 200
    flipped, _ = augment(canvas, 64, AugmentConfig(flip=1.0), np.random.default_rng(0))
    assert flipped[:18, -18:].min() > 190
    assert flipped[:, :40].max() == 0


def test_black_padding_stays_black_under_every_tone():
    canvas = np.zeros((64, 64, 3), np.uint8)
    config = AugmentConfig(gain=0.5, contrast=0.3, brightness=0.3, speckle=0.3, blur=1.0)
    for seed in range(10):
        assert augment(canvas, 64, config, np.random.default_rng(seed))[0].max() == 0


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(make_run):
    runs = [make_run(f"run-{i}", seed=s, epochs=1) for i, s in enumerate((0, 0, 1))]
    for run in runs:
        fit(run)
    assert losses(runs[0]) == losses(runs[1])
    assert losses(runs[0]) != losses(runs[2])


def test_a_resumed_run_ends_where_the_uninterrupted_one_ends(make_run):
    whole = make_run("whole", epochs=3)
    fit(whole)
    broken = make_run("broken", epochs=3)

    def stop_after_first(row):
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(broken, on_epoch=stop_after_first)
    resumed = make_run("broken", epochs=3)
    fit(resumed, resume=True)
    assert losses(resumed) == losses(whole)
    assert resumed.trainer.best_epoch == whole.trainer.best_epoch
    for name, value in whole.trainer.network.state_dict().items():
        torch.testing.assert_close(
            resumed.trainer.network.state_dict()[name], value, rtol=0, atol=0
        )
        torch.testing.assert_close(resumed.trainer.best[name], whole.trainer.best[name])


def test_resuming_without_a_checkpoint_starts_from_the_beginning(make_run):
    run = make_run(epochs=1)
    fit(run, resume=True)
    assert len(run.trainer.history) == 1


def test_a_checkpoint_of_other_settings_is_refused(make_run):
    fit(make_run(epochs=1))
    with pytest.raises(ModelFileError, match="config differs"):
        fit(make_run(epochs=1, lr=0.5), resume=True)


def test_a_checkpoint_is_plain_data_and_one_of_another_network_is_refused(make_run):
    run = make_run(epochs=1)
    fit(run)
    path = run.out / CHECKPOINT
    saved = torch.load(path, weights_only=True)
    assert saved["epoch"] == 1
    saved["network"] = {"other.weight": torch.zeros(3)}
    torch.save(saved, path)
    with pytest.raises(ModelFileError, match="no checkpoint of this network"):
        fit(make_run(epochs=1), resume=True)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match=r"checkpoint\.pt"):
        fit(make_run(epochs=1), resume=True)


def test_a_loss_that_is_no_number_ends_with_a_named_error_and_keeps_the_checkpoint(make_run):
    run = make_run(epochs=2)

    def spoil(row):
        with torch.no_grad():
            run.trainer.network.fc.weight.fill_(float("nan"))

    with pytest.raises(NonFiniteLossError, match="epoch 2"):
        fit(run, on_epoch=spoil)
    assert torch.load(run.out / CHECKPOINT, weights_only=True)["epoch"] == 1


def test_weights_that_the_last_step_of_an_epoch_spoiled_are_not_kept(make_run):
    run = make_run(epochs=2)

    def spoil_the_gradients_of_the_last_step(progress):
        if progress.epoch == 2 and progress.step == progress.steps - 1:
            run.trainer.network.conv1.weight.register_hook(lambda grad: grad * float("inf"))

    with pytest.raises(NonFiniteLossError, match="the weights of epoch 2 are not numbers"):
        fit(run, on_progress=spoil_the_gradients_of_the_last_step)
    saved = torch.load(run.out / CHECKPOINT, weights_only=True)
    assert saved["epoch"] == 1
    assert all(bool(torch.isfinite(value).all()) for value in saved["network"].values())


def ask_the_cpu_for_too_much(*_):
    torch.empty(1 << 55)


def ask_python_for_too_much(*_):
    bytearray(1 << 60)


def run_out_of_cuda_memory(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def run_out_in_cublas(*_):
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")


@pytest.mark.parametrize(
    "failure",
    [
        ask_the_cpu_for_too_much,
        ask_python_for_too_much,
        run_out_of_cuda_memory,
        run_out_in_cublas,
    ],
)
def test_a_full_memory_ends_with_a_named_error(make_run, monkeypatch, failure):
    monkeypatch.setattr("ml.steps.features", failure)
    with pytest.raises(OutOfMemoryError, match="out of memory with batches of 4; use a smaller"):
        fit(make_run(epochs=1))


def test_a_full_memory_in_validation_is_named_and_keeps_the_checkpoint(make_run, monkeypatch):
    monkeypatch.setattr("ml.trainer.forward_with_cam", ask_the_cpu_for_too_much)
    run = make_run(epochs=2)
    with pytest.raises(OutOfMemoryError, match="out of memory with batches of 4"):
        fit(run)
    assert torch.load(run.out / CHECKPOINT, weights_only=True)["epoch"] == 1


def test_a_full_memory_while_decoding_or_making_batches_is_named_too(make_run, monkeypatch):
    run = make_run(epochs=1)
    monkeypatch.setattr("ml.batches.augment", ask_python_for_too_much)
    with pytest.raises(OutOfMemoryError, match="with batches of"):
        fit(run)
    monkeypatch.setattr("ml.batches.framed", ask_python_for_too_much)
    with pytest.raises(OutOfMemoryError, match="for the decoded pictures; use a cache on disk"):
        make_run("other")


def test_cancelled_between_two_steps_it_keeps_the_last_epoch_and_can_go_on(make_run):
    whole, run = make_run("whole"), make_run("cancelled")
    fit(whole)
    steps = []

    def cancelled():
        return len(steps) == run.trainer.steps_per_epoch + 1

    with pytest.raises(TrainingCancelledError, match="cancelled in epoch 2 of 2"):
        fit(run, on_progress=steps.append, cancelled=cancelled)
    resumed = make_run("cancelled")
    fit(resumed, resume=True)
    assert losses(resumed) == losses(whole)


def test_threads_and_a_cache_on_disk_change_no_number(make_run, dataset, tmp_path):
    plain = make_run("plain", epochs=1)
    loop = Loop(workers=2, cache=tmp_path / "cache")
    other = prepare(dataset, plain.config, tmp_path / "other", device="cpu", loop=loop)
    fit(plain)
    fit(other)
    assert losses(plain) == losses(other)


def test_another_failure_of_torch_keeps_its_own_words(make_run, monkeypatch):
    def fail(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    run = make_run(epochs=1)
    monkeypatch.setattr("ml.steps.features", fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fit(run)


def test_validation_scores_that_are_no_numbers_are_not_taken_for_the_best(make_run, monkeypatch):
    run = make_run(epochs=1, stages=())
    monkeypatch.setattr("ml.trainer.predict_logits", lambda *_: np.full((5, 3), np.nan))
    with pytest.raises(NonFiniteLossError, match="validation scores of epoch 1"):
        fit(run)


def test_frozen_layers_keep_their_weights_and_statistics(make_run):
    run = make_run(epochs=1, frozen=("conv1", "bn1", "layer1"))
    before = {k: v.clone() for k, v in run.trainer.network.state_dict().items()}
    fit(run)
    after = run.trainer.network.state_dict()
    changed = {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}
    assert changed == {"layer2", "layer3", "layer4", "fc"}


def test_held_layers_learn_from_the_full_size_on_and_keep_their_statistics(make_run):
    def changed(before):
        after = run.trainer.network.state_dict()
        return {k for k in before if not torch.equal(before[k], after[k])}

    held = ("conv1", "bn1", "layer1")
    run = make_run(epochs=2, frozen=(), held=held, stages=((1, 32),))
    before = {k: v.clone() for k, v in run.trainer.network.state_dict().items()}
    run.trainer.run_epoch()
    assert {k.split(".")[0] for k in changed(before)} == {"layer2", "layer3", "layer4", "fc"}
    run.trainer.run_epoch()
    learned = changed(before)
    assert {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= learned
    statistics = {k for k in before if k.split(".")[0] in held and "running" in k}
    assert statistics and not statistics & learned


def test_a_run_resumed_after_its_held_layers_were_let_go_ends_the_same(make_run):
    settings = {"epochs": 3, "frozen": (), "held": ("conv1", "bn1", "layer1")}
    whole, broken = make_run("whole", **settings), make_run("broken", **settings)
    assert whole.config.holds_at(0) and not whole.config.holds_at(2)
    fit(whole)

    def stop_before_last(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(broken, on_epoch=stop_before_last)
    resumed = make_run("broken", **settings)
    fit(resumed, resume=True)
    assert losses(resumed) == losses(whole)


def test_one_batch_can_be_learned_by_heart(dataset, tiny_config, narrow):
    picks = [r for r in dataset.records if r.label != "normal"][:4]
    picks += [r for r in dataset.records if r.label == "malignant"][:4]
    config = replace(
        tiny_config,
        epochs=12,
        batch_size=8,
        frozen=(),
        ema=0.0,
        dropout=0.0,
        label_smoothing=0.0,
        schedule="constant",
        warmup_epochs=0.0,
        lr=1e-3,
        augment=AugmentConfig(flip=0.0),
    )
    torch.manual_seed(0)
    preprocessing = replace(PREPROCESSING[config.recipe], size=config.size)
    data = TrainingData.load(dataset, picks, picks, preprocessing)
    trainer = Trainer(build_network(), config, data, preprocessing, torch.device("cpu"))
    for _ in range(config.epochs):
        row = trainer.run_epoch()
    assert row["train_accuracy"] == 1.0
    assert row["train_loss"] < 0.1


def test_a_run_ends_in_a_model_file_history_and_figures_that_agree(make_run):
    run = make_run(epochs=1, stages=())
    fit(run)
    card, scored = finish(run, version="made-here", bootstraps=20)
    model = load_model(run.out / WEIGHTS)
    assert model.version == "made-here"
    assert model.card == card
    assert card["training"]["chosen_epoch"] == 1
    assert card["training"]["data"]["images"] == 24
    assert card["training"]["initial_weights"]["fresh"][0] == "conv1"
    # the card's held-out figures are those of the file, measured again
    records = run.records(run.split.held_out)
    again = score_records(Predictor(model, device="cpu"), run.dataset, records)
    groups = run.split.grouping.groups[run.split.held_out]
    areas = lesion_areas(run.dataset, again.records)
    threshold = model.operating_point.threshold
    measured = evaluation(again, threshold, groups, bootstraps=20, areas=areas)
    assert measured == card["metrics"]["held_out"]
    with (run.out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 and set(COLUMNS) <= set(rows[0])
    written = write_figures(run.out / "figures", run.trainer.history, card, scored)
    assert {p.suffix for p in written} == {".svg"}
    assert all(p.read_text().lstrip().startswith("<?xml") for p in written)


def test_an_earlier_model_starts_a_new_run_in_its_own_layout(model_file):
    network, layout, report = initial_network(str(model_file), None, 0)
    assert layout == "v1-layer3"
    assert network.layer2[0].conv1.stride == (2, 2)
    assert report.fresh == ()
    assert "tiny.safetensors" in report.source


def test_partial_weights_choose_the_layout_that_they_were_trained_in(shared_dir):
    path = shared_dir / "weights" / "resnet50_imagenet_conv1_to_layer3.safetensors"
    _, layout, report = initial_network(str(path), None, 0)
    assert layout == "v1-layer3"
    assert report.fresh == ("layer4", "fc")
    assert initial_network(str(path), "v1", 0)[1] == "v1"


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models.ResNet50_Weights.get_state_dict", fail)
    with pytest.raises(ModelFileError, match="use --init FILE or none"):
        initial_network("imagenet", None, 0)


def test_a_part_without_malignant_pictures_is_refused(dataset, tiny_config, tmp_path):
    split = split_records(dataset.records, folds=3)
    malignant = np.array([r.label == "malignant" for r in dataset.records])
    split = replace(split, validation=split.validation[~malignant[split.validation]])
    with pytest.raises(DatasetError, match="validation part needs malignant"):
        prepare(dataset, tiny_config, tmp_path, split=split)


def test_the_paper_recipe_trains_as_the_paper_says(dataset, tmp_path, narrow):
    assert (PAPER.epochs, PAPER.batch_size, PAPER.size, PAPER.stages) == (15, 32, 224, ())
    run = prepare(dataset, PAPER.changed(epochs=1, size=64, batch_size=8), tmp_path, device="cpu")
    trainer = run.trainer
    # Squashed and in colour: no padding, nothing cut, also of pictures that are not square.
    assert (run.preprocessing.fit, run.preprocessing.crop) == ("squash", "none")
    wide = np.full((64, 128, 3), 200, np.uint8)
    wide[:, :, 0] = 90
    canvas, geometry = run.preprocessing.frame(wide)
    assert np.unique(canvas.reshape(-1, 3), axis=0).tolist() == [[90, 200, 200]]
    assert geometry.covered == (0, 0, 128, 64)
    # Plain Adam at one constant rate on plain cross-entropy, every picture once an epoch.
    assert type(trainer.optimizer) is torch.optim.Adam
    rates = set()
    fit(run, on_progress=lambda _: rates.update(g["lr"] for g in trainer.optimizer.param_groups))
    assert rates == {1e-4}
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.0}
    assert sum(len(batch.targets) for batch in trainer.batches(1)) == len(run.split.train)
    assert not any((PAPER.class_weights, PAPER.attention, PAPER.label_smoothing, PAPER.dropout))
    # No average: the weights that are kept are the last ones.
    assert all(torch.equal(v, trainer.best[k]) for k, v in trainer.network.state_dict().items())


def test_the_paper_recipe_only_mirrors_turns_and_zooms():
    even, moved = np.full((128, 128, 3), 200, np.uint8), set()
    for seed in range(30):
        picture = augment(even, 96, PAPER.augment, np.random.default_rng(seed))[0]
        assert (picture[20:76, 20:76] == 200).all()  # no tone, speckle, mark, shadow
        moved.add(augment(CANVAS, 96, PAPER.augment, np.random.default_rng(seed))[0].tobytes())
    assert len(moved) == 30


def test_saving_and_loading_a_network_keeps_its_weights(tmp_path, model_file):
    model = load_model(model_file)
    path = tmp_path / "again.safetensors"
    card = {k: v for k, v in model.card.items() if k != "weights"}
    save_model(path, model.network.state_dict(), card)
    assert load_model(path).sha256 == model.sha256
