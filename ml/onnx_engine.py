"""ONNX Runtime on the CPU, with a graph made from the loaded weights.

The graph is written node by node from the module tree, with each BatchNorm folded into its
convolution: a tenth of a second, where tracing takes many. Nothing is written to disk, so there
is no second model file that could go stale or be tampered with.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import Bottleneck

from ml.engine import Engine, Floats, Outputs, in_pieces
from ml.errors import EngineError

OPSET: Final = 17
IR_VERSION: Final = 8
"""Both of 2022: any ONNX Runtime that this project may meet reads them."""

TOLERANCE: Final = 1e-4
"""Largest difference from PyTorch, relative to the largest value of each output (at least 1)."""

KEPT_BATCH: Final = 8
"""After larger batches the memory for activations goes back to the system: batches of 32 would
hold 450 MiB for good, while giving back and asking again costs about 6 % of a pass."""

_OUTPUTS: Final = ("logits", "maps", "pooled", "texture")


class OnnxEngine:
    """ONNX Runtime on the CPU with ``threads`` threads; inputs are ``size`` x ``size``.

    Raises ``EngineError`` where the network is not one it can write or ONNX Runtime refuses it.
    """

    uses_network = False

    def __init__(self, network: ResNet, *, size: int, threads: int) -> None:
        self._size = size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._giving_back = onnxruntime.RunOptions()
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            model = build_graph(network, size).SerializeToString()
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except EngineError:
            raise
        # ONNX Runtime's errors share no base class of their own.
        except Exception as error:
            raise EngineError(f"ONNX Runtime does not take the network ({error})") from error

    @property
    def name(self) -> str:
        """Name, version and device."""
        return f"onnxruntime-{onnxruntime.__version__}-cpu"

    def run(self, batch: Floats) -> Outputs:
        """Float32 B x 3 x S x S -> outputs. Raises ``EngineError`` for another shape or type."""
        return in_pieces(self._run, np.ascontiguousarray(batch))

    def _run(self, batch: Floats) -> Outputs:
        how = self._giving_back if len(batch) > KEPT_BATCH else None
        try:
            found = self._session.run(_OUTPUTS, {"images": batch}, how)
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed ({error})") from error
        return Outputs(*found)

    def check(self, reference: Engine) -> None:
        """Raise ``EngineError`` unless this answers like ``reference``, on a fixed batch of two.

        Each output may differ by ``TOLERANCE`` times its largest absolute value, or by
        ``TOLERANCE`` where that is below 1.
        """
        rng = np.random.default_rng(0)
        batch = rng.standard_normal((2, 3, self._size, self._size), dtype=np.float32)
        mine, theirs = self.run(batch), reference.run(batch)
        for name in _OUTPUTS:
            got, wanted = getattr(mine, name), getattr(theirs, name)
            if got.shape != wanted.shape:
                raise EngineError(f"its {name} have the shape {got.shape}, not {wanted.shape}")
            allowed = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
            worst = float(np.abs(got - wanted).max())
            if not worst <= allowed:  # also where either is not a number
                raise EngineError(
                    f"its {name} differ from PyTorch's by {worst:.2g}, more than {allowed:.2g}"
                )


def build_graph(network: ResNet, size: int) -> onnx.ModelProto:
    """The network in evaluation mode as ONNX, opset ``OPSET``.

    Input ``images`` float32 B x 3 x size x size, B free; outputs ``logits`` B x classes, ``maps``
    B x classes x h x w, ``pooled`` B x 2048, ``texture`` B x 512 (see
    :class:`ml.engine.Outputs`). Strides, pads and the pool are read from the modules, so all
    layouts come out as they are. Raises ``EngineError`` for a module it does not know.
    """
    graph = _Graph()
    x = graph.convolution("images", network.conv1, network.bn1, relu=True)
    x = graph.max_pool(x, network.maxpool)
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            x = graph.bottleneck(x, block)
        if stage is network.layer2:
            average = graph.node("GlobalAveragePool", [x])
            graph.node("Flatten", [average], out="texture", axis=1)
    weight, bias = network.fc.weight.detach(), network.fc.bias.detach()
    average = graph.node("GlobalAveragePool", [x])
    graph.node("Flatten", [average], out="pooled", axis=1)
    head = [graph.tensor(weight), graph.tensor(bias)]
    graph.node("Gemm", ["pooled", *head], out="logits", transB=1)
    # The map of a class is the head applied to every place of the feature map: a 1x1 convolution.
    graph.node("Conv", [x, graph.tensor(weight[:, :, None, None])], out="maps")
    classes, features = weight.shape
    shapes: dict[str, list[str | int]] = {
        "logits": ["batch", classes],
        "maps": ["batch", classes, "rows", "columns"],
        "pooled": ["batch", features],
        "texture": ["batch", network.layer3[0].conv1.in_channels],
    }
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, size, size])
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in _OUTPUTS]
    return helper.make_model(
        helper.make_graph(graph.nodes, "resnet", [images], outputs, graph.tensors),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="bcweb",
    )


class _Graph:
    """Nodes and weights in the making; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], *, out: str = "", **attributes: Any) -> str:
        out = out or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def tensor(self, values: torch.Tensor) -> str:
        name = f"weight{len(self.tensors)}"
        array = values.detach().cpu().float().contiguous().numpy()
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def convolution(self, x: str, conv: nn.Module, norm: nn.Module, *, relu: bool = False) -> str:
        """A convolution and the BatchNorm behind it, in one."""
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            raise EngineError("the network is not a ResNet-50")
        weight, bias = folded(conv, norm)
        out = self.node(
            "Conv",
            [x, self.tensor(weight), self.tensor(bias)],
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[int(p) for p in conv.padding] * 2,
            dilations=list(conv.dilation),
            group=conv.groups,
        )
        return self.node("Relu", [out]) if relu else out

    def max_pool(self, x: str, pool: nn.Module) -> str:
        if not isinstance(pool, nn.MaxPool2d) or pool.dilation != 1:
            raise EngineError("the network is not a ResNet-50")
        kernel, stride, pad = map(_pair, (pool.kernel_size, pool.stride, pool.padding))
        return self.node(
            "MaxPool",
            [x],
            kernel_shape=kernel,
            strides=stride,
            pads=pad * 2,
            ceil_mode=int(pool.ceil_mode),
        )

    def bottleneck(self, x: str, block: nn.Module) -> str:
        if not isinstance(block, Bottleneck):
            raise EngineError("the network is not a ResNet-50")
        y = self.convolution(x, block.conv1, block.bn1, relu=True)
        y = self.convolution(y, block.conv2, block.bn2, relu=True)
        y = self.convolution(y, block.conv3, block.bn3)
        if block.downsample is not None:
            x = self.convolution(x, block.downsample[0], block.downsample[1])
        return self.node("Relu", [self.node("Add", [y, x])])


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution that does what ``conv`` and then ``norm`` do.

    Worked out in float64: running variances may be tiny.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = conv.weight.detach().double() * scale[:, None, None, None]
    bias = norm.bias.detach().double() - norm.running_mean.double() * scale
    if conv.bias is not None:
        bias = bias + conv.bias.detach().double() * scale
    return weight, bias
