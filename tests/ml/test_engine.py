"""Both engines give what the network gives, and a bad one is not used."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from ml import engine, onnx_engine
from ml.engine import TorchEngine, make_engine, padded_size
from ml.errors import EngineError
from ml.model import LAYOUTS, build_network, features
from ml.onnx_engine import TOLERANCE, OnnxEngine, build_graph

CPU = torch.device("cpu")
NAMES = ("logits", "maps", "pooled", "texture")


def batch(count, size=64, seed=3):
    return np.random.default_rng(seed).standard_normal((count, 3, size, size), dtype=np.float32)


def lively(layout="v1.5"):
    """A network whose BatchNorms do something, so that folding them wrongly shows."""
    torch.manual_seed(5)
    network = build_network(layout)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.6)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def assert_alike(mine, theirs, tolerance=TOLERANCE):
    for name in NAMES:
        got, wanted = getattr(mine, name), getattr(theirs, name)
        assert got.dtype == wanted.dtype == np.float32
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=tolerance * max(1, abs(wanted).max()), rtol=0)


@pytest.fixture
def network(narrow):
    return lively()


@pytest.mark.parametrize("size", [64, 96, 81])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_onnx_equals_pytorch_in_every_layout_and_at_odd_sizes(narrow, layout, size):
    network = lively(layout)
    onnx = OnnxEngine(network, size=size, threads=1)
    assert_alike(onnx.run(batch(2, size)), TorchEngine(network, CPU).run(batch(2, size)))


def test_onnx_equals_pytorch_at_every_batch_size(network):
    onnx, pytorch = OnnxEngine(network, size=64, threads=1), TorchEngine(network, CPU)
    onnx.check(pytorch)
    for count in (*range(1, 10), 1):
        mine = onnx.run(batch(count))
        assert mine.logits.shape == (count, 3)
        assert mine.maps.shape == (count, 3, 2, 2)
        assert mine.pooled.shape == (count, 2048)
        assert mine.texture.shape == (count, 512)
        assert_alike(mine, pytorch.run(batch(count)))


@pytest.mark.parametrize("kind", ["pytorch", "onnx"])
def test_the_outputs_hang_together(network, kind):
    made = make_engine(network, size=64, device=CPU, kind=kind)
    assert made.warning == ""
    out = made.engine.run(batch(3))
    head = network.fc
    logits = out.pooled @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(out.logits, logits, atol=1e-4)
    means = out.maps.mean(axis=(2, 3)) + head.bias.detach().numpy()
    np.testing.assert_allclose(out.logits, means, atol=1e-4)


@pytest.mark.parametrize("kind", ["pytorch", "onnx"])
def test_the_maps_of_each_engine_equal_autograd_grad_cam(network, kind):
    images = batch(2, 96)
    maps = make_engine(network, size=96, device=CPU, kind=kind).engine.run(images).maps
    for k in range(3):
        last = features(network, torch.from_numpy(images))
        last.retain_grad()
        network.fc(last.mean(dim=(2, 3)))[:, k].sum().backward()
        weights = last.grad.mean(dim=(2, 3), keepdim=True)
        grad_cam = (weights * last).sum(dim=1).detach().numpy()  # before Grad-CAM's ReLU
        cells = last.shape[2] * last.shape[3]
        np.testing.assert_allclose(maps[:, k] / cells, grad_cam, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["pytorch", "onnx"])
def test_a_large_batch_is_run_in_pieces_and_in_order(network, kind, monkeypatch):
    runner = make_engine(network, size=64, device=CPU, kind=kind).engine
    whole = runner.run(batch(7))
    monkeypatch.setattr(engine, "MAX_BATCH", 3)
    sizes, real = [], runner._run
    monkeypatch.setattr(runner, "_run", lambda part: (sizes.append(len(part)), real(part))[1])
    assert_alike(runner.run(batch(7)), whole, tolerance=1e-5)
    assert sizes == [3, 3, 1]


def test_large_batches_give_their_memory_back_and_small_ones_keep_it(network, monkeypatch):
    onnx = OnnxEngine(network, size=64, threads=1)
    monkeypatch.setattr(onnx_engine, "KEPT_BATCH", 2)
    options = []

    class Session:
        def run(self, outputs, inputs, how):
            options.append(how)
            return [np.zeros(1)] * 4

    monkeypatch.setattr(onnx, "_session", Session())
    onnx.run(batch(2))
    onnx.run(batch(3))
    assert options[0] is None
    entry = options[1].get_run_config_entry("memory.enable_memory_arena_shrinkage")
    assert entry == "cpu:0"


def test_outputs_outlive_the_next_run(network):
    for kind in ("pytorch", "onnx"):
        runner = make_engine(network, size=64, device=CPU, kind=kind).engine
        first = runner.run(batch(2))
        kept = first.maps.copy()
        runner.run(batch(2, seed=9))
        np.testing.assert_array_equal(first.maps, kept)


def test_the_graph_states_its_version_and_its_free_batch(network):
    graph = build_graph(network, 64)
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", onnx_engine.OPSET)]
    dims = graph.graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_param == "batch"
    assert [d.dim_value for d in dims[1:]] == [3, 64, 64]
    assert [o.name for o in graph.graph.output] == list(NAMES)
    assert not [node for node in graph.graph.node if node.op_type == "BatchNormalization"]


def test_names_tell_library_version_and_device(network):
    pytorch = make_engine(network, size=64, device=CPU, kind="pytorch").engine
    assert pytorch.name == f"pytorch-{torch.__version__.split('+')[0]}-cpu"
    auto = make_engine(network, size=64, device=CPU).engine
    assert auto.name.startswith("onnxruntime-") and auto.name.endswith("-cpu")
    with pytest.raises(ValueError, match="unknown engine 'fast'"):
        make_engine(network, size=64, device=CPU, kind="fast")


# What is not right is not used


def wrong_fold(monkeypatch):
    real = onnx_engine.folded
    monkeypatch.setattr(
        onnx_engine, "folded", lambda conv, norm: (real(conv, norm)[0] * 1.01, real(conv, norm)[1])
    )


def nothing_but_nan(monkeypatch):
    real = onnx_engine.folded
    monkeypatch.setattr(
        onnx_engine,
        "folded",
        lambda conv, norm: (real(conv, norm)[0] * np.nan, real(conv, norm)[1]),
    )


def unknown_block(monkeypatch):
    monkeypatch.setattr(onnx_engine, "Bottleneck", nn.Identity)


def refused_by_the_runtime(monkeypatch):
    monkeypatch.setattr(onnx_engine, "IR_VERSION", 9999)


def not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "ml.onnx_engine")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (wrong_fold, "differ from PyTorch's by"),
        (nothing_but_nan, "differ from PyTorch's by nan"),
        (unknown_block, "not a ResNet-50"),
        (refused_by_the_runtime, "does not take the network"),
        (not_installed, "onnxruntime"),
    ],
)
@pytest.mark.parametrize("kind", ["auto", "onnx"])
def test_pytorch_steps_in_and_says_why(network, monkeypatch, caplog, fault, words, kind):
    fault(monkeypatch)
    made = make_engine(network, size=64, device=CPU, kind=kind)
    assert isinstance(made.engine, TorchEngine)
    assert made.warning.startswith("ONNX Runtime is not used: ")
    assert words in made.warning
    assert made.warning in caplog.text
    assert made.engine.run(batch(1)).logits.shape == (1, 3)


def test_outputs_of_another_shape_are_no_match(network):
    onnx = OnnxEngine(network, size=64, threads=1)
    two_classes = TorchEngine(build_network(classes=2).eval(), CPU)
    with pytest.raises(EngineError, match="logits have the shape"):
        onnx.check(two_classes)


def test_a_batch_of_another_size_is_an_error_of_the_engine(network):
    with pytest.raises(EngineError, match="ONNX Runtime failed"):
        OnnxEngine(network, size=64, threads=1).run(batch(1, 96))


# The GPU's branch, as far as it goes without one


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 2), (3, 4), (8, 8), (9, 16), (32, 32)])
def test_graphs_are_captured_at_powers_of_two(count, size):
    assert padded_size(count) == size


def test_a_graph_serves_all_batches_up_to_its_size_and_pads_are_dropped(network, monkeypatch):
    runner = TorchEngine(network, CPU)
    plain = runner.run(batch(3))
    captured = []

    class Graph:
        """Stands for a captured graph: the same pass over a buffer of a fixed size."""

        def __init__(self, forward, shape, device):
            captured.append(shape[0])
            self.forward, self.buffer = forward, torch.zeros(shape)

        def run(self, images):
            self.buffer[: len(images)].copy_(images)
            return self.forward(self.buffer)

    monkeypatch.setattr(engine, "_CudaGraph", Graph)
    runner._captures = True
    assert_alike(runner.run(batch(3)), plain, tolerance=1e-5)
    assert runner.run(batch(4)).maps.shape == (4, 3, 2, 2)
    assert captured == [4]


def test_a_gpu_that_cannot_capture_works_without_graphs(network, monkeypatch, caplog):
    def no_capture(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(engine, "_CudaGraph", no_capture)
    runner = TorchEngine(network, CPU)
    plain = runner.run(batch(2))
    runner._captures = True
    assert_alike(runner.run(batch(2)), plain, tolerance=1e-6)
    assert runner._captures is False
    assert "CUDA graphs are off: operation not permitted" in caplog.text
