"""Where a training's first weights come from: ImageNet, a file, an earlier model, or nowhere."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import torch
from torchvision.models import ResNet

from ml import registry
from ml.errors import ModelFileError
from ml.model import Layout, LoadReport, build_network, load_initial, read_weights


def initial_network(
    init: str, layout: Layout | None, seed: int
) -> tuple[ResNet, Layout, LoadReport]:
    """Build the network and load its initial weights.

    ``init`` is "none", "imagenet" (torchvision's download) or a safetensors file: an earlier
    model of this package keeps its layout, a partial file leaves the missing layers fresh.
    Without a ``layout``, files that are no model of ours are taken as "v1-layer3" when layer4 is
    missing, else as "v1.5". Raises ``ModelFileError`` for a bad file.
    """
    torch.manual_seed(seed)
    if init == "none":
        chosen: Layout = layout or "v1.5"
        network = build_network(chosen)
        modules = tuple(dict.fromkeys(k.split(".")[0] for k in network.state_dict()))
        return network, chosen, LoadReport("none", fresh=modules)
    if init == "imagenet":
        from torchvision.models import ResNet50_Weights

        chosen = layout or "v1.5"
        try:
            # torch announces the download on stderr, which is kept for errors here.
            with contextlib.redirect_stderr(sys.stdout):
                weights = dict(ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False))
        except OSError as error:
            raise ModelFileError(
                f"the ImageNet weights could not be downloaded ({error}); use --init FILE or none"
            ) from None
        source = "torchvision IMAGENET1K_V2"
    else:
        path = Path(init)
        weights = read_weights(path)
        source = f"{path.name} (sha256 {registry.file_sha256(path)[:12]})"
        if registry.card_path(path).exists():
            layout = registry.verify_file(path)[0]["layout"]
        partial = not any(name.startswith("layer4.") for name in weights)
        chosen = layout or ("v1-layer3" if partial else "v1.5")
    network = build_network(chosen)
    return network, chosen, load_initial(network, weights, source=source)
