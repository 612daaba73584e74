"""The loss of one step by hand: attention to the lesion, class weights, the averaged weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ml.batches import Batch, cell_shares
from ml.run import fit
from ml.trainer import attention_loss

LN = math.log


@pytest.fixture
def two_pictures():
    """Feature maps of two channels and 1 x 2 cells, and the head's row of each picture's class.

    The first picture's activation map is (ln 3, 0), so its softmax is (3/4, 1/4).
    """
    maps = torch.tensor([[[[LN(3), 0.0]], [[9.0, -9.0]]], [[[5.0, 7.0]], [[0.0, LN(4)]]]])
    heads = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    return maps.requires_grad_(), heads


def test_attention_is_the_cross_entropy_between_lesion_and_map(two_pictures):
    lesions = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]])
    first = -(LN(3 / 4) + LN(1 / 4)) / 2
    second = -LN(1 / 5)
    assert attention_loss(*two_pictures, lesions).item() == pytest.approx((first + second) / 2)


def test_a_picture_without_a_mask_adds_nothing_but_counts_in_the_mean(two_pictures):
    maps, heads = two_pictures
    lesions = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    loss = attention_loss(maps, heads, lesions)
    assert loss.item() == pytest.approx(-LN(3 / 4) / 2)
    loss.backward()
    assert not maps.grad[1].any()
    # Downhill the lesion's cell rises and the other falls, in the class's own channel alone.
    assert maps.grad[0, 0, 0].tolist() == pytest.approx([-1 / 8, 1 / 8])
    assert not maps.grad[0, 1].any()


def test_shares_of_a_lesion_over_the_cells():
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 24:48] = 255  # 8 and 16 columns, 16 and 16 rows
    expected = np.array([[1 / 6, 1 / 3], [1 / 6, 1 / 3]])
    np.testing.assert_allclose(cell_shares(mask, 64), expected, rtol=1e-6)
    assert not cell_shares(np.zeros((64, 64), np.uint8), 64).any()
    assert not cell_shares(None, 64).any()


def test_batches_of_the_recipe_carry_the_lesions_of_their_pictures(make_run):
    run = make_run(stages=())
    assert run.config.attention > 0
    for batch in run.trainer.batches(0):
        normal = batch.targets == 2
        sums = batch.lesions.sum(dim=(1, 2))
        torch.testing.assert_close(sums, (~normal).float())


LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [1.0, 0.0, 3.0], [0.0, 0.0, 1.0]])
TARGETS = torch.tensor([0, 1, 2, 1])


def stepped(make_run, **settings):
    """The loss that a step reports for ``LOGITS``, and the attention loss of its maps."""
    plain = {"class_weights": (), "attention": 0.0, "label_smoothing": 0.0}
    trainer = make_run(**{**plain, **settings}).trainer
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(4, 2048, 2, 2, generator=generator)
    lesions = torch.tensor([0.25, 0.75, 0.0, 0.0]).reshape(1, 2, 2).repeat(4, 1, 1)
    lesions[2] = 0
    heads = trainer.network.fc.weight.detach()[TARGETS].clone()
    trainer._model = lambda images, kept: (maps, LOGITS.clone().requires_grad_())
    batch = Batch(torch.zeros(4, 3, 64, 64), TARGETS, lesions, total=4)
    loss, _, right = trainer._step(batch, lambda: False)
    assert right == 3
    return loss, float(attention_loss(maps, heads, lesions))


def shares():
    values = np.exp(LOGITS.double().numpy())
    return -np.log(values / values.sum(axis=1, keepdims=True))


def test_class_weights_multiply_the_loss_of_their_class_and_are_not_normed_away(make_run):
    costs = shares()[np.arange(4), TARGETS]
    assert stepped(make_run)[0] == pytest.approx(costs.mean())
    weighted = costs * [1, 3, 2, 3]
    assert stepped(make_run, class_weights=(1.0, 3.0, 2.0))[0] == pytest.approx(weighted.mean())


def test_the_loss_of_a_step_is_the_weighted_smoothed_one_and_its_part_of_attention(make_run):
    weights = np.array([1.0, 1.0, 2.0])
    costs = shares() * weights
    smoothed = 0.9 * costs[np.arange(4), TARGETS] + 0.1 * costs.mean(axis=1)
    settings = {"class_weights": tuple(weights.tolist()), "label_smoothing": 0.1}
    loss, attention = stepped(make_run, attention=0.2, **settings)
    assert attention > 0
    assert loss == pytest.approx(smoothed.mean() + 0.2 * attention, rel=1e-5)


def states_of(run):
    """Train; the network's state before the first step and after each."""

    def state():
        return {k: v.detach().clone() for k, v in run.trainer.network.state_dict().items()}

    states = [state()]
    fit(run, on_progress=lambda _: states.append(state()))
    return states


def test_averaged_weights_and_statistics_are_those_by_hand_and_are_the_ones_kept(make_run):
    run = make_run(epochs=1, stages=(), ema=0.2)
    first, *later = states_of(run)
    assert len(later) == run.trainer.steps_per_epoch > 2
    decays = [2 / 11, *[0.2] * (len(later) - 1)]  # (1 + n) / (10 + n) while that is smaller
    for name, start in first.items():
        if start.is_floating_point():
            expected = start.double()
            for decay, state in zip(decays, later, strict=True):
                expected = decay * expected + (1 - decay) * state[name].double()
        else:
            expected = torch.tensor(len(later)).double()  # num_batches_tracked
        kept = run.trainer.best[name].double()
        torch.testing.assert_close(kept, expected, rtol=1e-5, atol=1e-7, msg=name)
    for name in ("fc.weight", "bn1.weight", "bn1.running_mean", "bn1.running_var"):
        assert not torch.equal(run.trainer.best[name], later[-1][name])
    # Validation, which is done with the average, left the network's own weights in place.
    for name, value in run.trainer.network.state_dict().items():
        torch.testing.assert_close(value, later[-1][name], rtol=0, atol=0)


def test_without_averaging_the_last_weights_are_kept(make_run):
    run = make_run(epochs=1, ema=0.0)
    last = states_of(run)[-1]
    for name, value in run.trainer.best.items():
        torch.testing.assert_close(value, last[name], rtol=0, atol=0)
