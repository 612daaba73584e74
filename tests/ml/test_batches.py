import pickle
import threading
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from ml import canvases
from ml.batches import BatchMaker, TrainingData, made_ahead
from ml.checkpoints import read_checkpoint, remove_leftovers, write_checkpoint
from ml.errors import ModelFileError, TrainingError
from ml.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(size=64)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def masked(dataset):
    """Seven pictures, of which the first has a lesion mask that is not empty."""
    records = [r for r in dataset.records if r.label != "normal"][:7]
    mask = np.zeros((records[0].height, records[0].width), np.uint8)
    mask[20:50, 30:60] = 255

    class Masked(type(dataset)):
        def read_mask(self, record):
            return mask if record == records[0] else None

    return Masked(dataset.root, dataset.records, dataset.skipped), records


@pytest.fixture
def make_data(masked):
    def make(cache=None):
        dataset, records = masked
        return TrainingData.load(dataset, records, records[:2], PREPROCESSING, cache=cache)

    return make


def test_every_picture_is_in_exactly_one_batch_and_batches_differ_by_one(make_data, tiny_config):
    plan = BatchMaker(make_data(), tiny_config, PREPROCESSING).plan(0, 2)
    assert sorted(np.concatenate(plan).tolist()) == list(range(7))
    assert sorted(len(part) for part in plan) == [3, 4]


def test_batches_lie_in_memory_with_channels_last_and_lesions_sum_to_one(make_data, tiny_config):
    config = replace(tiny_config, stages=())
    batch = BatchMaker(make_data(), config, PREPROCESSING).make(0, np.arange(4))
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch.lesions.sum(dim=(1, 2)), torch.tensor([1.0, 0, 0, 0]))


@pytest.mark.parametrize("shares", [2, 3])
def test_the_shares_of_all_processes_make_up_the_whole_batch(make_data, tiny_config, shares):
    data = make_data()
    chosen = np.array([4, 0, 6, 2])
    whole = BatchMaker(data, tiny_config, PREPROCESSING).make(1, chosen)
    parts = [
        BatchMaker(data, tiny_config, PREPROCESSING, share=k, shares=shares).make(1, chosen)
        for k in range(shares)
    ]
    assert [p.start for p in parts] == np.cumsum([0, *(len(p.targets) for p in parts)])[
        :-1
    ].tolist()
    assert {p.total for p in parts} == {4}
    for name in ("images", "targets", "lesions"):
        joined = torch.cat([getattr(p, name) for p in parts])
        torch.testing.assert_close(joined, getattr(whole, name), rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_made_ahead_are_those_made_in_line(make_data, tiny_config, workers):
    maker = BatchMaker(make_data(), tiny_config, PREPROCESSING)
    plan = maker.plan(0, 3)
    made = list(made_ahead(lambda chosen: maker.make(0, chosen), plan, workers))
    for batch, chosen in zip(made, plan, strict=True):
        torch.testing.assert_close(batch.images, maker.make(0, chosen).images, rtol=0, atol=0)


def test_results_come_in_order_however_long_each_takes():
    last = threading.Event()

    def make(number):
        if number == 0:
            assert last.wait(120)
        if number == 2:
            last.set()
        return number

    assert list(made_ahead(make, range(6), workers=3)) == list(range(6))


def test_at_most_as_many_results_wait_as_there_are_workers():
    started = count()
    ahead = made_ahead(lambda _: next(started), range(100), workers=2)
    assert next(ahead) == 0
    ahead.close()
    assert next(started) <= 3


def test_an_error_comes_where_its_result_would_have_come():
    def make(number):
        if number == 2:
            raise MemoryError
        return number

    ahead = made_ahead(make, range(5), workers=2)
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(MemoryError):
        next(ahead)


def test_leaving_early_stops_the_threads():
    ahead = made_ahead(abs, range(100), workers=2)
    next(ahead)
    ahead.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]


def test_pictures_cached_on_disk_are_those_in_memory(make_data, tmp_path, monkeypatch):
    plain, mapped = make_data(), make_data(tmp_path / "cache")
    # the second time nothing is decoded
    monkeypatch.setattr(canvases, "framed", lambda *_: pytest.fail("decoded again"))
    again = make_data(tmp_path / "cache")
    for data in (mapped, again):
        for a, b in zip(plain.canvases, data.canvases, strict=True):
            np.testing.assert_array_equal(a, b)
        assert [m is None for m in data.masks] == [m is None for m in plain.masks]
        np.testing.assert_array_equal(data.masks[0], plain.masks[0])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_other_preprocessing_takes_another_cache_file(masked, tmp_path):
    dataset, records = masked
    for size in (32, 64):
        canvases.mapped_canvases(tmp_path, dataset, records, Preprocessing(size=size))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_cache_is_named(make_data, tmp_path):
    make_data(tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:2000])
    with pytest.raises(TrainingError, match=f"{file.name} is damaged, remove it"):
        make_data(tmp_path)
    np.save(file, np.zeros((3, 3), np.uint8))
    with pytest.raises(TrainingError, match="does not hold these pictures"):
        make_data(tmp_path)


def test_a_cache_that_could_not_be_finished_leaves_no_file(masked, tmp_path, monkeypatch):
    dataset, records = masked
    original = canvases.framed

    def fail_later(dataset, record, preprocessing):
        if record == records[3]:
            raise MemoryError
        return original(dataset, record, preprocessing)

    monkeypatch.setattr(canvases, "framed", fail_later)
    with pytest.raises(MemoryError):
        canvases.mapped_canvases(tmp_path, dataset, records, PREPROCESSING)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_could_not_be_written_leaves_the_last_one(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"identity": {"data": "a"}, "epoch": 1})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint(path, {"identity": {}, "epoch": lambda: 2})  # cannot be pickled
    assert read_checkpoint(path, CPU, {"data": "a"})["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint", b"PK\x03\x04 cut short"], ids=["empty", "text", "short"]
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"^checkpoint\.pt is no checkpoint of this network"):
        read_checkpoint(path, CPU, {})


@pytest.mark.parametrize("value", [[1, 2], {"network": {}}, {"identity": 3}])
def test_a_checkpoint_of_something_else_is_named(tmp_path, value):
    path = tmp_path / "checkpoint.pt"
    torch.save(value, path)
    with pytest.raises(ModelFileError, match="no checkpoint of this network"):
        read_checkpoint(path, CPU, {"data": "a"})


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path):
    for name in (".checkpoint.pt.ab1", ".checkpoint.pt.cd2", "checkpoint.pt", ".other", "notes"):
        (tmp_path / name).touch()
    removed = remove_leftovers(tmp_path, ["checkpoint.pt", "history.csv"])
    assert removed == [".checkpoint.pt.ab1", ".checkpoint.pt.cd2"]
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.pt", ".other", "notes"}


def test_an_epoch_takes_one_picture_of_each_group_and_another_one_the_next_time(make_run):
    run = make_run(one_per_group=True)
    data = replace(run.trainer.data, groups=np.arange(len(run.trainer.data.targets)) // 3)
    maker = BatchMaker(data, run.config, run.preprocessing)
    count = data.epoch_length(one_per_group=True)
    epochs = [np.concatenate(maker.plan(epoch, 2)) for epoch in range(6)]
    for chosen in epochs:
        assert sorted(data.groups[chosen].tolist()) == list(range(count))
    assert len({tuple(sorted(chosen.tolist())) for chosen in epochs}) > 1
    assert set(np.concatenate(epochs).tolist()) > set(epochs[0].tolist())
    assert (np.concatenate(maker.plan(3, 2)) == epochs[3]).all()


def test_without_groups_an_epoch_takes_every_picture_once(make_run):
    run = make_run(one_per_group=False)
    maker = BatchMaker(run.trainer.data, run.config, run.preprocessing)
    assert sorted(np.concatenate(maker.plan(0, 3)).tolist()) == list(range(len(maker.data.targets)))
