"""From a finished training to its file: what is calibrated is what serves."""

from ml import registry
from ml.calibrate import fit_calibration, group_weights
from ml.evaluate import score_records
from ml.finish import finish, recalibrate, write_uncalibrated
from ml.inference import Predictor
from ml.oof import logits_from_scores
from ml.run import WEIGHTS, fit


def test_the_calibration_is_fitted_on_scores_of_the_written_file(make_run):
    run = make_run(epochs=1)
    fit(run)
    card, _ = finish(run, version="x", bootstraps=2)
    write_uncalibrated(run, version="x")
    part = run.split.validation
    predictor = Predictor(run.out / WEIGHTS, device="cpu")
    scored = score_records(predictor, run.dataset, run.records(part))
    expected = fit_calibration(
        logits_from_scores(scored.scores),
        scored.targets,
        group_weights(run.split.grouping.groups[part]),
        run.config.target_sensitivity,
    )
    assert card["temperature"] == expected.temperature
    assert card["operating_point"]["threshold"] == expected.threshold
    again = recalibrate(run.out / WEIGHTS, expected, "x")
    assert again["weights"]["sha256"] == card["weights"]["sha256"]
    assert registry.verify_file(run.out / WEIGHTS)[0]["temperature"] == expected.temperature
