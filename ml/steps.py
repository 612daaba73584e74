"""Parts of a training step: the network's forward pass, the loss on lesions, a full memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet

from ml.errors import OutOfMemoryError
from ml.model import features

_OUT_OF_MEMORY = ("allocate memory", "out of memory", "bad_alloc", "ALLOC_FAILED")


def attention_loss(maps: Tensor, heads: Tensor, lesions: Tensor) -> Tensor:
    """Cross-entropy between the lesion's shares and the softmax over a class's activation map.

    ``maps`` B x 2048 x h x w, ``heads`` B x 2048 (the head's row of each picture's true class),
    ``lesions`` B x h x w (zeros where there is no mask). Mean over the pictures of the batch.
    """
    cams = torch.einsum("bc,bchw->bhw", heads, maps).flatten(1)
    return -(lesions.flatten(1) * functional.log_softmax(cams, dim=1)).sum() / len(maps)


@contextmanager
def out_of_memory_named(advice: str) -> Iterator[None]:
    """Turn a full memory into ``OutOfMemoryError`` with ``advice``.

    CUDA and Python have an error class for it; the allocators of torch's CPU side and of cuBLAS
    and cuDNN only say so in words.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        full = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not full and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        raise OutOfMemoryError(f"out of memory {advice}") from error


class Classifier(nn.Module):
    """Feature maps and logits in one call, so that DDP and the compiler see one forward pass."""

    def __init__(self, network: ResNet, dropout: float) -> None:
        super().__init__()
        self.network, self.dropout = network, dropout

    def forward(self, images: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Float Bx3xSxS -> (maps B x 2048 x h x w, logits B x classes); ``kept`` replaces dropout.

        ``kept`` are factors B x 2048, 0 or 1/(1 - dropout).
        """
        maps = features(self.network, images)
        pooled = maps.mean(dim=(2, 3))
        pooled = functional.dropout(pooled, self.dropout) if kept is None else pooled * kept
        return maps, self.network.fc(pooled)
