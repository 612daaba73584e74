"""The check that refuses what is no breast ultrasound, for a model that was just trained.

Pure `ml`, no Django: it runs in the training's own process, after the training. The check reads
the network's own early layers, so that an earlier model's would not fit.
"""

from __future__ import annotations

import sys
from pathlib import Path


def add_refusal_check(weights: Path, data: Path, *, limit: int | None, seed: int) -> bool:
    """Fit the check on the training's pictures and write it into the model file.

    False, and the file as it was, where there are too few of them: such a model answers every
    picture, and its pages say so. Raises ``ModelFileError`` and ``DatasetError``.
    """
    from ml.dataset import limit_records, read_dataset
    from ml.refusal_fit import LEAST, fit_detector
    from ml.registry import add_detector, load_model

    dataset = limit_records(read_dataset(data), limit, seed=seed)
    count = len(dataset.records)
    if count < LEAST:
        print(f"no refusal check: it needs {LEAST} pictures, not {count}", file=sys.stderr)
        return False
    print(f"fitting the refusal check on {count} pictures", file=sys.stderr)
    detector, _ = fit_detector(load_model(weights), dataset, seed=seed)
    add_detector(weights, detector)
    return True
