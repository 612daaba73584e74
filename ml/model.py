"""torchvision's ResNet-50 with a three-class head, in the layout its weights were made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import ResNet, resnet50

from ml.config import CLASSES
from ml.errors import ModelFileError

Layout = Literal["v1.5", "v1", "v1-layer3"]

# The stages whose first block has its stride of 2 in the first 1x1 convolution instead of the 3x3.
_STRIDE_IN_1X1: Final[dict[Layout, tuple[str, ...]]] = {
    "v1.5": (),
    "v1": ("layer2", "layer3", "layer4"),
    "v1-layer3": ("layer2", "layer3"),
}
LAYOUTS: Final = tuple(_STRIDE_IN_1X1)
REFUSAL_PREFIX: Final = "refusal."
"""Tensors of a model file under such names belong to its refusal check, not to the network."""


PICTURES: Final = "training.pictures"
"""Which pictures a model was trained on: uint8 N x 8, the first bytes of each file's SHA-256."""
_NOT_NETWORK: Final = (REFUSAL_PREFIX, "training.")


@dataclass(frozen=True)
class LoadReport:
    """What an initialisation put into the network, by module (conv1, bn1, layer1 .. fc)."""

    source: str
    loaded: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"initial weights from {self.source}: loaded {', '.join(self.loaded) or 'none'}"]
        parts.append(f"fresh {', '.join(self.fresh) or 'none'}")
        if self.ignored:
            parts.append(f"ignored {', '.join(self.ignored)}")
        return "; ".join(parts)


def build_network(layout: Layout = "v1.5", *, classes: int = len(CLASSES)) -> ResNet:
    """ResNet-50 with fresh weights and ``classes`` outputs: float32 Bx3xSxS -> logits B x classes.

    ``layout`` "v1.5" is torchvision's own; "v1" is the original paper's: stride 2 in the first
    1x1 convolution of layer2, layer3 and layer4, and an unpadded, ceil-mode max-pool;
    "v1-layer3" is that up to layer3, with torchvision's layer4. Weights only fit the layout that
    they were trained in, though every layout loads them. Raises ``ValueError`` on another name.
    """
    if layout not in _STRIDE_IN_1X1:
        raise ValueError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    network = resnet50(weights=None, num_classes=classes)
    if layout != "v1.5":
        network.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=0, ceil_mode=True)
    for name in _STRIDE_IN_1X1[layout]:
        block = getattr(network, name)[0]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    return network


def features(network: ResNet, images: Tensor) -> Tensor:
    """The last feature map: float Bx3xSxS -> B x 2048 x S/32 x S/32."""
    maps: Tensor = network.layer4(network.layer3(early_features(network, images)))
    return maps


def early_features(network: ResNet, images: Tensor) -> Tensor:
    """The feature map of layer2: float Bx3xSxS -> B x 512 x S/8 x S/8. Its mean is the texture."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    early: Tensor = network.layer2(network.layer1(x))
    return early


def forward_with_cam(network: ResNet, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, class activation maps (Zhou et al. 2016), pooled features and texture in one pass.

    Float Bx3xSxS -> (logits B x classes, maps B x classes x S/32 x S/32, pooled B x 2048,
    texture B x 512). A map's mean plus the class's bias is its logit, so a cell's value is what
    that place adds to the class's score. The pooled features are the last feature map's mean, the
    head's input; the texture is that of layer2's map, for the refusal check.
    """
    early = early_features(network, images)
    maps = network.layer4(network.layer3(early))
    head = network.fc
    pooled = maps.mean(dim=(2, 3))
    cams = torch.einsum("kc,bchw->bkhw", head.weight, maps)
    return head(pooled), cams, pooled, early.mean(dim=(2, 3))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The network's tensors in a safetensors file, without what else a model file carries.

    Raises :class:`ModelFileError` if it cannot be read.
    """
    return {k: v for k, v in read_tensors(path).items() if not k.startswith(_NOT_NETWORK)}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises :class:`ModelFileError` if it cannot be read."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ModelFileError(f"there is no file {path.name}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path.name} is not a whole safetensors file ({error})") from None


def load_initial(network: ResNet, weights: Mapping[str, Tensor], *, source: str) -> LoadReport:
    """Copy initial weights into ``network``; layers that are missing stay fresh.

    A head of another class count is ignored. Names of another network or shapes that do not fit
    raise :class:`ModelFileError`, with the network unchanged.
    """
    own = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    ignored: list[str] = []
    if "fc.weight" in given and given["fc.weight"].shape != own["fc.weight"].shape:
        given = {k: v for k, v in given.items() if not k.startswith("fc.")}
        ignored.append("fc")
    _check_fits(own, given, source)
    network.load_state_dict({k: v.float() for k, v in given.items()}, strict=False)
    modules = list(dict.fromkeys(k.split(".")[0] for k in own))
    loaded = [m for m in modules if all(k in given for k in own if k.split(".")[0] == m)]
    fresh = [m for m in modules if not any(k in given for k in own if k.split(".")[0] == m)]
    partly = [m for m in modules if m not in loaded and m not in fresh]
    if partly:
        raise ModelFileError(f"{source} holds only a part of {', '.join(partly)}")
    return LoadReport(source, tuple(loaded), tuple(fresh), tuple(ignored))


def load_trained(network: ResNet, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Copy a full set of trained weights; anything missing or left over is an error.

    Raises :class:`ModelFileError` naming the first tensor that does not fit.
    """
    own = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    _check_fits(own, weights, source)
    missing = [k for k in own if k not in weights]
    if missing:
        raise ModelFileError(f"{source} is not a trained ResNet-50: {missing[0]} is missing")
    network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)


def _check_fits(own: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    if not given:
        raise ModelFileError(f"{source} holds no weights")
    for name, tensor in given.items():
        if name not in own:
            raise ModelFileError(f"{source} is of another architecture: unknown tensor {name}")
        if tensor.shape != own[name].shape:
            raise ModelFileError(
                f"{source} is of another architecture: {name} is "
                f"{tuple(tensor.shape)}, ResNet-50 has {tuple(own[name].shape)}"
            )
