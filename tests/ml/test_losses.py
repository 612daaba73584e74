"""What the table of epochs calls losses."""

import pytest
import torch
from torch.nn import functional


def test_the_training_loss_is_the_plain_log_loss_and_the_objective_stands_apart(make_run):
    run = make_run(
        lr=0.0,
        head_lr=0.0,
        dropout=0.0,
        batch_size=8,
        stages=(),
        class_weights=(1.0, 3.0, 1.0),
        label_smoothing=0.2,
        attention=0.5,
    )
    trainer = run.trainer
    trainer.network.train()
    total, count = 0.0, 0
    for batch in trainer.batches(0):
        with torch.no_grad():
            logits = trainer.network(batch.images)
        total += float(functional.cross_entropy(logits, batch.targets, reduction="sum"))
        count += len(batch.targets)
    row = trainer.run_epoch()
    assert row["train_loss"] == pytest.approx(total / count, rel=1e-4)
    assert row["train_objective"] > row["train_loss"] + 0.1
