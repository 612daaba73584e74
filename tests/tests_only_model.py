"""A model file for tests of the service: whole and valid, made by code, and no good at all.

The model that ships refuses phantoms, so whatever needs a label runs this one. Its refusal check
knows no ultrasounds: it goes by the facts of a picture alone (empty, coloured, two views), so
that phantoms get their label and a coloured picture is still refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_tests_only_model(
    path: Path,
    *,
    version: str = "tests-only",
    minimum_score: float = 0.0,
    texture_score: float = -1.0,
    size: int = 224,
) -> dict[str, Any]:
    """Write weights (47 MB) and card; returns the card. The same arguments, the same bytes.

    ``texture_score`` is what the refusal check gives every picture: above 0.65 it refuses all as
    "not_ultrasound". With a ``minimum_score`` above 0.7 the model abstains from all others.
    """
    # Imported here: torch takes seconds, and most tests of the service need none.
    import torch

    from ml import registry
    from ml.calibrate import Calibration
    from ml.cards import make_card
    from ml.model import build_network
    from ml.preprocessing import Preprocessing

    with torch.random.fork_rng():
        torch.manual_seed(20_260_101)
        network = build_network("v1-layer3")
    # Every picture gets scores near 0.25, 0.60 and 0.15, and its own faint heatmap.
    with torch.no_grad():
        network.fc.weight.mul_(0.02)
        network.fc.bias.copy_(torch.log(torch.tensor([0.25, 0.60, 0.15])))
    card = make_card(
        version=version,
        layout="v1-layer3",
        preprocessing=Preprocessing(size=size),
        calibration=Calibration(1.0, 0.35, 0.95, minimum_score, 0.1, 1.0),
    )
    detector = constant_detector(texture_score)
    card["refusal"] = detector.to_card()
    state = {**network.state_dict(), **detector.to_tensors()}
    return registry.save_model(path, state, card)


def constant_detector(texture_score: float) -> Any:
    """A refusal check whose texture score is the same for every picture."""
    import numpy as np

    from ml.refusal import Detector, Limits

    return Detector(
        mean=np.zeros(512, np.float32),
        scale=np.ones(512, np.float32),
        basis=np.zeros((512, 1), np.float32),
        spread=np.ones(1, np.float32),
        weights=np.array([0, 0, 0, texture_score], np.float32),
        # A phantom's layers may happen to step at one column.
        limits=Limits(seam=100.0),
    )
