"""The network at work: one interface, PyTorch and ONNX Runtime behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.models import ResNet

from ml.errors import EngineError
from ml.model import forward_with_cam

EngineKind = Literal["auto", "pytorch", "onnx"]
ENGINE_KINDS: tuple[str, ...] = get_args(EngineKind)
MAX_BATCH = 32
"""More pictures than these are run in pieces, so that memory stays bounded."""

Floats = npt.NDArray[np.float32]
Forward = tuple[Tensor, Tensor, Tensor, Tensor]
"""Logits, maps, pooled features and texture, as :class:`Outputs` has them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """What one forward pass gives for B pictures, all float32.

    ``logits`` B x 3; ``maps`` B x 3 x h x w, the class activation maps (a map's mean plus the
    class's bias is its logit); ``pooled`` B x 2048, the mean of the last feature map, which is
    what the head sees; ``texture`` B x 512, the mean of layer2's map, for the refusal check.
    """

    logits: Floats
    maps: Floats
    pooled: Floats
    texture: Floats

    @classmethod
    def joined(cls, parts: list[Outputs]) -> Outputs:
        """The outputs of consecutive batches as those of one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.maps for part in parts]),
            np.concatenate([part.pooled for part in parts]),
            np.concatenate([part.texture for part in parts]),
        )


class Engine(Protocol):
    """Runs one network on prepared inputs. Not thread-safe: one per process or thread."""

    uses_network: bool
    """Whether it reads the PyTorch network at each run, or has a copy of its own."""

    @property
    def name(self) -> str:
        """Name, version and device, such as "onnxruntime-1.20.1-cpu"."""
        ...

    def run(self, batch: Floats) -> Outputs:
        """Float32 B x 3 x S x S, B at least 1, from the model's own preprocessing -> outputs."""
        ...


def in_pieces(run: Callable[[Floats], Outputs], batch: Floats) -> Outputs:
    """``run`` on at most ``MAX_BATCH`` pictures at a time."""
    starts = range(0, len(batch), MAX_BATCH)
    return Outputs.joined([run(batch[start : start + MAX_BATCH]) for start in starts])


class TorchEngine:
    """PyTorch, channels last: float32 on the CPU; bfloat16 in CUDA graphs on a GPU.

    ``network`` is moved to ``device`` and kept. ``threads`` sets torch's CPU threads for the
    whole process; None leaves them as they are.
    """

    uses_network = True

    def __init__(self, network: ResNet, device: torch.device, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = device
        self._network = network.to(device, memory_format=torch.channels_last).eval()
        self._graphs: dict[int, _CudaGraph] = {}
        self._captures = device.type == "cuda"

    @property
    def name(self) -> str:
        return f"pytorch-{torch.__version__.split('+')[0]}-{self._device.type}"

    def run(self, batch: Floats) -> Outputs:
        return in_pieces(self._run, batch)

    def _run(self, batch: Floats) -> Outputs:
        images = torch.from_numpy(batch)
        with torch.inference_mode():
            given = self._graphed(images) if self._captures else None
            if given is None:
                moved = images.to(self._device, memory_format=torch.channels_last)
                given = self._forward(moved)
            # Copied out before the next run: a graph writes to the same memory each time.
            logits, maps, pooled, texture = (
                np.array(t[: len(batch)].float().cpu().contiguous().numpy()) for t in given
            )
        return Outputs(logits, maps, pooled, texture)

    def _forward(self, images: Tensor) -> Forward:
        # Cast weights must not outlive a captured graph's memory, hence no cache of them.
        cuda = self._device.type == "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, cuda, cache_enabled=False):
            return forward_with_cam(self._network, images)

    def _graphed(self, images: Tensor) -> Forward | None:
        """The pass as one launch, at the next larger captured size; None where it cannot be.

        At small batches a ResNet-50 spends most of its time on a GPU launching kernels. Graphs
        rather than torch.compile: captured in under a second, not minutes, without a compiler.
        """
        size = padded_size(len(images))
        try:
            if size not in self._graphs:
                shape = (size, *images.shape[1:])
                self._graphs[size] = _CudaGraph(self._forward, shape, self._device)
            return self._graphs[size].run(images)
        except RuntimeError as error:
            log.warning("CUDA graphs are off: %s", str(error).splitlines()[0])
            self._captures = False
            self._graphs.clear()
            return None


def padded_size(count: int) -> int:
    """The batch size to capture for ``count`` pictures: the next power of two, at least 1."""
    return 1 << max(0, count - 1).bit_length()


class _CudaGraph:
    """A captured forward pass of one batch size (PyTorch's notes on CUDA semantics, graphs)."""

    def __init__(
        self,
        forward: Callable[[Tensor], Forward],
        shape: tuple[int, ...],
        device: torch.device,
    ) -> None:
        self._input = torch.zeros(shape, device=device).to(memory_format=torch.channels_last)
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(3):  # cuDNN chooses its kernels before the capture
                forward(self._input)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = forward(self._input)

    def run(self, images: Tensor) -> Forward:
        """Outputs of the captured size: those beyond ``images`` mean nothing."""
        self._input[: len(images)].copy_(images, non_blocking=True)
        self._graph.replay()
        return self._outputs


@dataclass(frozen=True)
class Made:
    """An engine, and why it is not the one that was wanted ("" where it is)."""

    engine: Engine
    warning: str = ""


def make_engine(
    network: ResNet,
    *,
    size: int,
    device: torch.device,
    kind: str = "auto",
    threads: int | None = None,
) -> Made:
    """The engine for ``network`` at ``size`` x ``size`` inputs.

    "auto": PyTorch on a GPU, ONNX Runtime on the CPU. "onnx": ONNX Runtime on the CPU. Where
    ONNX Runtime is missing, cannot take the network, or does not give what PyTorch gives, it is
    PyTorch, with a warning. ``threads``: CPU threads; None for as many as torch has. Raises
    ``ValueError`` for another kind.
    """
    if kind not in ENGINE_KINDS:
        raise ValueError(f"unknown engine {kind!r}; known: {', '.join(ENGINE_KINDS)}")
    if kind == "pytorch" or (kind == "auto" and device.type != "cpu"):
        return Made(TorchEngine(network, device, threads))
    cpu = TorchEngine(network, torch.device("cpu"), threads)
    try:
        from ml.onnx_engine import OnnxEngine

        onnx = OnnxEngine(network, size=size, threads=threads or torch.get_num_threads())
        onnx.check(cpu)
    except (EngineError, ImportError) as error:
        warning = f"ONNX Runtime is not used: {error}"
        log.warning(warning)
        return Made(cpu if device.type == "cpu" else TorchEngine(network, device), warning)
    return Made(cast(Engine, onnx))
