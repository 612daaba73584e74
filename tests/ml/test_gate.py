"""The gate: limits declared before a run, judged on a locked set beside the active model."""

import json

import numpy as np
import pytest
import torch

from ml import gate, registry
from ml.calibrate import Calibration
from ml.cards import make_card
from ml.cli import run_cli
from ml.config import CLASSES
from ml.dataset import read_dataset
from ml.errors import GatePlanError
from ml.limits import METRICS, Answers, GatePlan, Limit, LockedSet, judge, plan_sha256
from ml.model import PICTURES, build_network
from ml.preprocessing import Preprocessing
from ml.registry import TrainedPictures
from tests.ml.helpers import phantom, png


def plan(*limits, minimum=1, **more):
    return GatePlan.from_dict(
        {"limits": list(limits), "minimum_malignant_patients": minimum, "rounds": 400, **more}
    )


def locked(targets, patients=None, sources=None):
    count = len(targets)
    return LockedSet(
        np.array(targets),
        np.arange(count) if patients is None else np.array(patients),
        tuple(sources or ["here"] * count),
    )


def answers(malignant, answered=None, threshold=0.5):
    """Scores with these malignant ones; the rest is benign."""
    score = np.array(malignant, dtype=np.float64)
    scores = np.stack([1 - score, score, np.zeros_like(score)], axis=1)
    given = np.ones(len(score), bool) if answered is None else np.array(answered)
    return Answers(scores, threshold, given)


TRUTH = [1] * 10 + [0] * 10
GOOD = [0.9] * 9 + [0.2] + [0.1] * 8 + [0.8] * 2  # 9 of 10 caught, 8 of 10 let go


def test_an_absolute_limit_holds_the_figure_or_the_end_of_its_interval_to_the_bound():
    by_value = plan({"metric": "sensitivity", "bound": 0.9, "by": "value"})
    verdict = judge(by_value, locked(TRUTH), answers(GOOD))
    row = verdict["limits"][0]
    assert verdict["state"] == "passed" and row["value"] == row["judged"] == pytest.approx(0.9)
    by_interval = plan({"metric": "sensitivity", "bound": 0.9})
    verdict = judge(by_interval, locked(TRUTH), answers(GOOD))
    row = verdict["limits"][0]
    assert verdict["state"] == "failed" and row["judged"] == row["interval"][0] < 0.9


def test_less_is_better_for_errors_of_calibration():
    limit = {"metric": "brier", "bound": 0.3, "by": "value"}
    assert judge(plan(limit), locked(TRUTH), answers(GOOD))["state"] == "passed"
    flipped = answers([1 - s for s in GOOD])
    row = judge(plan(limit), locked(TRUTH), flipped)["limits"][0]
    assert not row["passed"] and row["judged"] > 0.3
    upper = judge(plan({**limit, "by": "interval"}), locked(TRUTH), answers(GOOD))["limits"][0]
    assert upper["judged"] == upper["interval"][1]


def test_abstaining_buys_neither_sensitivity_nor_specificity():
    limits = [
        {"metric": name, "bound": 0.0, "by": "value"}
        for name in ("sensitivity", "specificity", "coverage")
    ]
    silent = [True] * 9 + [False] + [False] * 4 + [True] * 6  # the missed one, four of the rest
    rows = judge(plan(*limits), locked(TRUTH), answers(GOOD, silent))["limits"]
    sensitivity, specificity, coverage = (row["value"] for row in rows)
    assert sensitivity == pytest.approx(0.9)  # the missed one stays missed
    assert specificity == pytest.approx(0.4)  # four of the eight let go count as called
    assert coverage == pytest.approx(15 / 20)


def test_against_the_active_model_whole_patients_are_drawn_for_both_alike():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    base = np.clip(truth * 0.3 + rng.normal(0.35, 0.2, 200), 0.01, 0.99)
    patients = np.arange(200) // 2
    limit = {"metric": "auc_malignant", "bound": -0.02, "against": "active"}
    same = judge(plan(limit), locked(truth, patients), answers(base), answers(base))
    row = same["limits"][0]
    # The same answers differ in no draw: an unpaired interval would be wide.
    assert same["state"] == "passed" and row["difference_interval"] == [0.0, 0.0]
    worse = np.where(rng.random(200) < 0.4, rng.random(200), base)
    verdict = judge(plan(limit), locked(truth, patients), answers(worse), answers(base))
    row = verdict["limits"][0]
    assert verdict["state"] == "failed" and row["difference"] < 0
    assert row["difference"] == pytest.approx(row["value"] - row["active_value"])
    assert row["difference_interval"][0] <= row["difference"] <= row["difference_interval"][1]


def test_a_limit_on_one_source_looks_at_that_source_alone():
    sources = ["near"] * 5 + ["far"] * 5 + ["near"] * 5 + ["far"] * 5
    limits = [
        {"metric": "specificity", "bound": 0.9, "by": "value", "source": name}
        for name in ("near", "far")
    ]
    rows = judge(plan(*limits), locked(TRUTH, sources=sources), answers(GOOD))["limits"]
    assert [row["value"] for row in rows] == [pytest.approx(1.0), pytest.approx(0.6)]
    assert [row["passed"] for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("limit", "minimum", "why"),
    [
        ({"metric": "sensitivity", "bound": 0.1}, 11, ""),
        ({"metric": "sensitivity", "bound": 0.1, "source": "elsewhere"}, 1, "no picture"),
        ({"metric": "ece", "bound": 0.1, "against": "active"}, 1, "no active model"),
    ],
)
def test_too_little_evidence_is_no_pass_and_says_what_is_missing(limit, minimum, why):
    verdict = judge(plan(limit, minimum=minimum), locked(TRUTH), answers(GOOD))
    assert verdict["state"] == "insufficient_evidence"
    assert why in verdict["limits"][0]["why"]


def test_patients_count_not_their_pictures():
    one = judge(
        plan({"metric": "coverage", "bound": 0.5}, minimum=2),
        locked(TRUTH, patients=[0] * 10 + list(range(1, 11))),
        answers(GOOD),
    )
    assert one["malignant_patients"] == 1 and one["state"] == "insufficient_evidence"


def test_a_figure_that_is_not_defined_is_no_pass():
    verdict = judge(
        plan({"metric": "sensitivity", "bound": 0.0}), locked([0, 2, 0]), answers([0.1] * 3)
    )
    assert verdict["state"] == "insufficient_evidence"
    assert "not defined" in verdict["limits"][0]["why"]
    with pytest.raises(GatePlanError, match="empty"):
        judge(plan({"metric": "ece", "bound": 1.0}), locked([]), answers([]))


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_can_be_judged(metric):
    truth = [0, 1, 2] * 10
    scores = np.full((30, 3), 0.1)
    scores[np.arange(30), truth] = 0.8
    perfect = Answers(scores, 0.5, np.ones(30, bool))
    row = judge(plan({"metric": metric, "bound": 0.5, "by": "value"}), locked(truth), perfect)
    assert row["limits"][0]["value"] is not None
    assert row["state"] == "passed"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"limits": [], "minimum_malignant_patients": 1}, "at least one limit"),
        ({"limits": "sensitivity", "minimum_malignant_patients": 1}, "at least one limit"),
        ({"limits": [{"metric": "luck", "bound": 1}], "minimum_malignant_patients": 1}, "luck"),
        ({"limits": [{"metric": "ece", "bound": -0.1}], "minimum_malignant_patients": 1}, "0 to 1"),
        ({"limits": [{"metric": "ece", "bound": True}], "minimum_malignant_patients": 1}, "number"),
        (
            {
                "limits": [{"metric": "ece", "bound": 0.1, "or": 2}],
                "minimum_malignant_patients": 1,
            },
            "'or'",
        ),
        ({"limits": [{"metric": "ece", "bound": 0.1}]}, "minimum_malignant_patients"),
        (
            {"limits": [{"metric": "ece", "bound": 0.1}], "minimum_malignant_patients": 0},
            "at least 1",
        ),
        (
            {
                "limits": [{"metric": "ece", "bound": 0.1, "against": "me"}],
                "minimum_malignant_patients": 1,
            },
            "absolute or active",
        ),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(document, message):
    with pytest.raises(GatePlanError, match=message):
        GatePlan.from_dict({"minimum_malignant_patients": None, **document})


def test_a_plans_hash_does_not_follow_the_order_of_its_keys_but_every_value():
    first = {"limits": [Limit("ece", 0.1).to_dict()], "minimum_malignant_patients": 5}
    second = dict(reversed(first.items()))
    assert plan_sha256(first) == plan_sha256(second)
    assert plan_sha256(first) != plan_sha256({**first, "minimum_malignant_patients": 4})


@pytest.fixture
def locked_dir(tmp_path):
    folder = tmp_path / "locked"
    for place, label in enumerate(CLASSES):
        (folder / label).mkdir(parents=True)
        for k in range(4):
            picture = phantom(100 * place + k, lesion=label)
            (folder / label / f"{k}.png").write_bytes(png(picture))
    return folder


def model(path, seed, *, trained=()):
    torch.manual_seed(seed)
    card = make_card(
        version=path.stem,
        layout="v1-layer3",
        preprocessing=Preprocessing(size=64),
        calibration=Calibration(1.0, 0.3, 0.95, 0.0, 0.1, 1.0),
    )
    rows = [TrainedPictures.row(r.sha256, r.phash) for r in trained]
    pictures = torch.tensor(rows, dtype=torch.uint8).reshape(len(rows), 16)
    state = build_network("v1-layer3").state_dict()
    registry.save_model(path, {**state, PICTURES: pictures} if rows else state, card)
    return path


def command(tmp_path, locked_dir, *more, limits=None):
    document = {
        "limits": limits or [{"metric": "coverage", "bound": 0.5, "by": "value"}],
        "minimum_malignant_patients": 3,
        "rounds": 20,
        "approvers": ["somebody"],
    }
    (tmp_path / "plan.json").write_text(json.dumps(document))
    out = tmp_path / "verdict.json"
    given = ["--plan", str(tmp_path / "plan.json"), "--data", str(locked_dir), "--device", "cpu"]
    code = run_cli(lambda: gate.main([*given, "--json", str(out), *more]))
    return code, json.loads(out.read_text()) if out.exists() else None, document


def test_the_command_judges_two_files_and_keeps_what_each_said(tmp_path, locked_dir, capsys):
    ours, theirs = model(tmp_path / "new.safetensors", 1), model(tmp_path / "old.safetensors", 2)
    both = ("--candidate", str(ours), "--active", str(theirs))
    code, verdict, document = command(tmp_path, locked_dir, *both)
    assert code == 0 and verdict["state"] == "passed"
    assert verdict["plan_sha256"] == plan_sha256(document)
    assert verdict["models"]["candidate"]["sha256"] == registry.file_sha256(ours)
    assert len(verdict["pictures"]) == 12
    picture = verdict["pictures"][0]
    assert set(picture["candidate"]["scores"]) == set(CLASSES) and "active" in picture
    assert picture["source"] == "locked"
    comparison = verdict["comparison"]
    assert set(comparison["confusions"]) == {"candidate", "active"}
    assert "figures" not in comparison  # drawn for the service only
    assert "ok   coverage" in capsys.readouterr().out

    hard = [{"metric": "coverage", "bound": 0.1}, {"metric": "accuracy", "bound": 1.0}]
    code, verdict, _ = command(tmp_path, locked_dir, *both, limits=hard)
    assert code == 1 and verdict["state"] == "failed"


def test_a_candidate_that_saw_a_locked_picture_is_not_judged(tmp_path, locked_dir, capsys):
    trained = read_dataset(locked_dir).records[:1]
    ours = model(tmp_path / "new.safetensors", 1, trained=trained)
    code, verdict, _ = command(tmp_path, locked_dir, "--candidate", str(ours))
    assert (code, verdict) == (2, None)
    assert "was trained on 1 of the locked pictures" in capsys.readouterr().err
    # The active model may have: it is told of.
    fresh = model(tmp_path / "fresh.safetensors", 3)
    both = ("--candidate", str(fresh), "--active", str(ours))
    code, verdict, _ = command(tmp_path, locked_dir, *both)
    assert verdict["models"]["active"]["seen"] >= 1


def test_a_locked_set_whose_truth_is_in_doubt_is_not_judged_on(tmp_path, locked_dir, capsys):
    twin = (locked_dir / "benign" / "0.png").read_bytes()
    (locked_dir / "malignant" / "9.png").write_bytes(twin)
    ours = model(tmp_path / "new.safetensors", 1)
    code, verdict, _ = command(tmp_path, locked_dir, "--candidate", str(ours))
    assert (code, verdict) == (2, None)
    assert "have different classes" in capsys.readouterr().err


def test_bad_input_ends_with_one_line_and_2(tmp_path, locked_dir, capsys):
    ours = model(tmp_path / "new.safetensors", 1)
    (tmp_path / "broken.json").write_text("{")
    given = ["--data", str(locked_dir), "--candidate", str(ours), "--plan"]
    for bad in ("broken.json", "none.json"):
        assert run_cli(lambda bad=bad: gate.main([*given, str(tmp_path / bad)])) == 2
        assert capsys.readouterr().err.count("\n") == 1
    code, _, _ = command(tmp_path, locked_dir, "--candidate", str(tmp_path / "no.safetensors"))
    assert code == 2
