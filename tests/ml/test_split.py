import numpy as np
import pytest
from PIL import Image

from ml.config import CLASSES
from ml.dataset import THUMBNAIL, read_dataset
from ml.duplicates import connected, duplicate_pairs, group_records
from ml.errors import DatasetError
from ml.phash import perceptual_hash
from ml.split import KINDS, grouped_folds, split_records
from tests.ml.helpers import phantom, record


def seen(index, label, image):
    """A record of a picture that exists only in memory."""
    grey = Image.fromarray(image)
    small = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    rgb = np.repeat(image[:, :, None], 3, axis=2)
    return record(index, label, phash=perceptual_hash(rgb), thumbnail=small.tobytes())


def many(count=200, seed=0):
    """Records of random classes, a third of them in groups of up to four by patient."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, count, p=[0.55, 0.3, 0.15])
    patients = rng.integers(0, count // 3, count)
    return [
        record(i, str(label), patient_id=str(p) if p < count // 6 else None)
        for i, (label, p) in enumerate(zip(labels, patients, strict=True))
    ]


CHANGES = {
    "same": lambda a: a,
    "mirrored": lambda a: a[:, ::-1],
    "brighter": lambda a: np.clip(a * 0.8 + 30, 0, 255).astype(np.uint8),
    "smaller": lambda a: np.asarray(Image.fromarray(a).resize((100, 90))),
    "slightly cut": lambda a: a[1:, 1:-1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_near_duplicates_are_found(change):
    image = phantom(1, size=(180, 200), lesion="malignant")
    changed = np.ascontiguousarray(CHANGES[change](image))
    records = [seen(0, "benign", image), seen(1, "benign", changed), seen(2, "benign", phantom(2))]
    assert duplicate_pairs(records) == [(0, 1)]


def test_different_phantoms_are_no_duplicates(dataset):
    assert duplicate_pairs(dataset.records) == []


def test_groups_are_transitive_and_numbered_by_first_member():
    assert connected(6, [(4, 1), (1, 5), (0, 3)]).tolist() == [0, 1, 2, 0, 1, 1]


def test_patients_and_duplicates_join_groups_but_not_across_sources():
    image = phantom(1)
    records = [
        seen(0, "benign", image),
        seen(1, "benign", image),
        record(2, "benign", patient_id="p"),
        record(3, "malignant", patient_id="p"),
        record(4, "benign", patient_id="p", source="elsewhere"),
    ]
    grouping = group_records(records)
    assert grouping.groups.tolist() == [0, 0, 1, 1, 2]
    assert grouping.duplicates == ((0, 1),)
    assert grouping.count == 3
    # one patient may have a benign and a malignant lesion: that is no conflict
    assert grouping.conflicts == ()


def test_duplicates_with_different_labels_are_quarantined_and_in_no_part():
    image = phantom(1)
    records = [*many(60), seen(100, "benign", image), seen(101, "malignant", image)]
    split = split_records(records)
    assert split.grouping.conflicts == ((60, 61),)
    used = np.concatenate([split.train, split.validation, split.held_out])
    assert sorted(used.tolist()) == list(range(60))


@pytest.mark.parametrize("seed", range(4))
def test_no_group_lies_in_two_parts(seed):
    records = many(seed=seed)
    split = split_records(records, seed=seed)
    groups = split.grouping.groups
    parts = [set(groups[p].tolist()) for p in (split.train, split.validation, split.held_out)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert sum(len(p) for p in (split.train, split.validation, split.held_out)) == len(records)


@pytest.mark.parametrize("seed", range(4))
def test_folds_are_stratified(seed):
    records = many(seed=seed)
    folds = grouped_folds(records, group_records(records).groups, folds=5, seed=seed)
    targets = np.array([r.target for r in records])
    for k in range(3):
        counts = np.bincount(folds[targets == k], minlength=5)
        assert counts.max() - counts.min() <= 3


def test_held_out_folds_cover_every_picture_once():
    records = many()
    held_out = [split_records(records, fold=k).held_out for k in range(5)]
    assert sorted(np.concatenate(held_out).tolist()) == list(range(len(records)))


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_files():
    records = many()
    split = split_records(records, seed=3)
    names = {records[i].file for i in split.held_out.tolist()}
    backwards = records[::-1]
    again = split_records(backwards, seed=3)
    assert {backwards[i].file for i in again.held_out.tolist()} == names
    other = split_records(records, seed=4)
    assert {records[i].file for i in other.held_out.tolist()} != names


def test_a_random_split_deals_pictures_evenly_and_keeps_the_quarantined():
    image = phantom(1)
    records = [*many(201), seen(300, "benign", image), seen(301, "malignant", image)]
    parts = [split_records(records, kind="random", fold=k) for k in range(5)]
    assert sorted(np.concatenate([p.held_out for p in parts]).tolist()) == list(range(203))
    targets = np.array([r.target for r in records])
    for k in range(3):
        counts = [int((targets[p.held_out] == k).sum()) for p in parts]
        assert max(counts) - min(counts) <= 1
    for part in parts:
        assert part.kind == "random"
        every = np.concatenate([part.train, part.validation, part.held_out])
        assert sorted(every.tolist()) == list(range(203))


def test_a_random_split_parts_groups_and_counts_the_leak():
    records = many()
    split = split_records(records, kind="random")
    groups = split.grouping.groups
    others = set(groups[split.train].tolist()) | set(groups[split.validation].tolist())
    by_hand = [i for i in split.held_out.tolist() if groups[i] in others]
    assert by_hand
    assert split.leaked().tolist() == by_hand
    assert split_records(records).leaked().tolist() == []


def test_a_random_split_depends_on_the_seed_and_not_on_the_order_of_files():
    records = many()

    def held_out(of, seed):
        part = split_records(of, kind="random", seed=seed).held_out
        return {of[i].file for i in part.tolist()}

    assert held_out(records, 3) == held_out(records[::-1], 3)
    assert held_out(records, 3) != held_out(records, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_without_validation_all_the_rest_is_trained_on(kind):
    records = many()
    with_it = split_records(records, kind=kind)
    without = split_records(records, kind=kind, validate=False)
    assert without.validation.tolist() == []
    assert without.held_out.tolist() == with_it.held_out.tolist()
    both = np.concatenate([with_it.train, with_it.validation])
    assert without.train.tolist() == sorted(both.tolist())


def test_too_few_pictures_are_refused():
    records = [record(i, "benign") for i in range(4)]
    with pytest.raises(DatasetError, match="4 pictures are too few for 5 folds"):
        split_records(records, kind="random")


def test_too_few_groups_are_refused():
    records = [record(i, "benign", patient_id="one") for i in range(20)]
    with pytest.raises(DatasetError, match="1 groups"):
        split_records(records)


def test_busi_holds_over_a_hundred_duplicate_groups_and_eight_across_classes(shared_dir):
    data = read_dataset(shared_dir / "data" / "busi")
    assert data.counts() == {"benign": 437, "malignant": 210, "normal": 133}
    assert sum(len(r.masks) for r in data.records) == 798
    grouping = group_records(data.records)
    assert len(grouping.duplicates) > 100
    assert len(grouping.conflicts) >= 8


def test_busbra_is_read_by_its_manifest_and_grouped_by_patient(shared_dir):
    data = read_dataset(shared_dir / "data" / "busbra")
    assert data.counts() == {"benign": 679, "malignant": 336, "normal": 0}
    groups = group_records(data.records).groups
    for patient in {r.patient_id for r in data.records}:
        own = [i for i, r in enumerate(data.records) if r.patient_id == patient]
        assert len(set(groups[own].tolist())) == 1
