import numpy as np
import pytest
import torch

from ml.errors import ModelFileError
from ml.model import (
    LAYOUTS,
    build_network,
    early_features,
    features,
    forward_with_cam,
    load_initial,
    load_trained,
    read_weights,
)


def without_counters(network):
    return {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_ends_in_a_seven_by_seven_map_at_224(layout):
    network = build_network(layout).eval()
    with torch.inference_mode():
        assert features(network, torch.zeros(1, 3, 224, 224)).shape == (1, 2048, 7, 7)


def test_v1_has_its_stride_in_the_first_convolution_and_an_unpadded_pool():
    network = build_network("v1")
    for name in ("layer2", "layer3", "layer4"):
        block = getattr(network, name)[0]
        assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    assert (network.maxpool.padding, network.maxpool.ceil_mode) == (0, True)
    partly = build_network("v1-layer3")
    assert partly.layer3[0].conv1.stride == (2, 2)
    assert partly.layer4[0].conv2.stride == (2, 2)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="v2"):
        build_network("v2")


def test_the_layouts_answer_differently_with_the_same_weights():
    torch.manual_seed(0)
    first = build_network("v1.5").eval()
    image = torch.randn(1, 3, 96, 96)
    answers = []
    for layout in LAYOUTS:
        network = build_network(layout).eval()
        network.load_state_dict(first.state_dict())
        with torch.inference_mode():
            answers.append(network(image))
    assert not torch.allclose(answers[0], answers[1])
    assert not torch.allclose(answers[1], answers[2])


def test_class_activation_maps_equal_autograd_grad_cam():
    torch.manual_seed(1)
    network = build_network("v1-layer3").eval()
    images = torch.randn(2, 3, 96, 96)
    logits, cams, pooled, texture = forward_with_cam(network, images)
    torch.testing.assert_close(texture, early_features(network, images).mean(dim=(2, 3)))
    torch.testing.assert_close(logits, network(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.fc(pooled), logits)
    for k in range(3):
        maps = features(network, images)
        maps.retain_grad()
        network.fc(maps.mean(dim=(2, 3)))[:, k].sum().backward()
        weights = maps.grad.mean(dim=(2, 3), keepdim=True)
        grad_cam = (weights * maps).sum(dim=1)  # before Grad-CAM's ReLU
        cells = maps.shape[2] * maps.shape[3]
        torch.testing.assert_close(cams[:, k] / cells, grad_cam, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(cams.mean(dim=(2, 3)) + network.fc.bias, logits)


def test_partial_weights_are_loaded_and_the_rest_is_reported_fresh():
    torch.manual_seed(2)
    given = {k: v.half() for k, v in without_counters(build_network()).items() if k[:6] < "layer4"}
    given = {k: v for k, v in given.items() if not k.startswith("fc")}
    network = build_network("v1-layer3")
    before = network.layer4[0].conv1.weight.clone()
    report = load_initial(network, given, source="part.safetensors")
    assert report.loaded == ("conv1", "bn1", "layer1", "layer2", "layer3")
    assert report.fresh == ("layer4", "fc")
    assert "fresh layer4, fc" in str(report)
    torch.testing.assert_close(network.conv1.weight, given["conv1.weight"].float())
    torch.testing.assert_close(network.layer4[0].conv1.weight, before)


def test_a_head_of_another_class_count_is_ignored_and_said_so():
    given = without_counters(build_network(classes=1000))
    report = load_initial(build_network(), given, source="imagenet")
    assert report.ignored == ("fc",)
    assert report.fresh == ("fc",)
    assert "ignored fc" in str(report)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w | {"features.0.weight": torch.zeros(3)}, "unknown tensor features.0.weight"),
        (lambda w: w | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, "conv1.weight is"),
        (lambda w: {}, "no weights"),
        (lambda w: {k: v for k, v in w.items() if k != "layer2.0.conv1.weight"}, "part of layer2"),
    ],
)
def test_initial_weights_of_another_network_are_refused(change, reason):
    given = change(without_counters(build_network()))
    with pytest.raises(ModelFileError, match=reason):
        load_initial(build_network(), given, source="other")


def test_trained_weights_must_be_complete():
    given = without_counters(build_network())
    load_trained(build_network(), given, source="whole")
    del given["fc.bias"]
    with pytest.raises(ModelFileError, match=r"fc\.bias is missing"):
        load_trained(build_network(), given, source="part")


def test_a_file_that_is_no_safetensors_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(ModelFileError, match=r"weights\.safetensors is not a whole safetensors"):
        read_weights(path)
    with pytest.raises(ModelFileError, match="there is no file"):
        read_weights(tmp_path / "none.safetensors")
