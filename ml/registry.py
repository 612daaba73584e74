"""The model file: fp16 safetensors beside a JSON card. Reading the card needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ml.config import CLASSES
from ml.errors import ModelFileError

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.models import ResNet

    from ml.model import Layout
    from ml.preprocessing import Preprocessing
    from ml.refusal import Detector

FORMAT: Final = "bcweb-model/1"
ARCHITECTURE: Final = "resnet50"
SHIPPED: Final = Path(__file__).parent / "weights" / "resnet50-busi-busbra-20261126.safetensors"
"""The model that ships with the project; :func:`shipped_path` honours ``BCWEB_MODEL``."""

# These card entries change the answer, so a copy travels inside the weights file, under its hash.
_SERVING_KEYS: Final = (
    "format",
    "version",
    "architecture",
    "layout",
    "classes",
    "preprocessing",
    "temperature",
    "operating_point",
)
# Serving entries that older files do not have; absent on both sides is sound.
_OPTIONAL_KEYS: Final = ("abstention", "refusal")
PROTECTED_KEYS: Final = (*_SERVING_KEYS, *_OPTIONAL_KEYS, "weights")
"""Entries that only :func:`save_model` writes."""
_METADATA_KEY: Final = "bcweb"

Card = dict[str, Any]


@dataclass(frozen=True)
class OperatingPoint:
    """Malignant is answered when its calibrated score is at least ``threshold``.

    ``sensitivity`` is the target for which the threshold was chosen; on which scores, validation
    or out-of-fold, the card's ``training.calibrated_on`` says.
    """

    threshold: float
    sensitivity: float

    def to_json(self) -> dict[str, float]:
        """As in the contract's ``result``."""
        return {"threshold": self.threshold, "sensitivity": self.sensitivity}


@dataclass(frozen=True)
class LoadedModel:
    """A verified model file: network (float32, evaluation mode), and what its card says.

    ``detector`` is its refusal check; without one (earlier and tests-only models) nothing is
    refused.
    """

    network: ResNet
    card: Card
    path: Path
    version: str
    sha256: str
    layout: Layout
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    operating_point: OperatingPoint
    detector: Detector | None = None


def shipped_path() -> Path:
    """Weights file that serves: the one named by ``BCWEB_MODEL`` if set, else the shipped one."""
    override = os.environ.get("BCWEB_MODEL")
    return Path(override) if override else SHIPPED


def card_path(weights: Path) -> Path:
    """The card lies beside the weights under the same name, with the ending .json."""
    return weights.with_suffix(".json")


def shipped_card() -> Card:
    """The card of the model that serves, read without torch. See :func:`read_card`."""
    return read_card(shipped_path())


def read_card(weights: Path) -> Card:
    """Read and check a model's card; needs no torch and does not read the weights.

    Raises :class:`ModelFileError` when the card is missing, is not JSON, lacks an entry, or is
    for another format or architecture.
    """
    path = card_path(weights)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(f"there is no model card {path.name}") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"the model card {path.name} cannot be read ({error})") from None
    if not isinstance(card, dict):
        raise ModelFileError(f"the model card {path.name} is not a JSON object")
    missing = [key for key in (*_SERVING_KEYS, "weights") if key not in card]
    if missing:
        raise ModelFileError(f"the model card {path.name} has no {missing[0]!r}")
    if card["format"] != FORMAT:
        raise ModelFileError(f"the model card {path.name} has format {card['format']!r}")
    if card["architecture"] != ARCHITECTURE:
        raise ModelFileError(
            f"{path.name} is for the architecture {card['architecture']!r}, not {ARCHITECTURE}"
        )
    if not isinstance(card["weights"], dict):
        raise ModelFileError(f"{path.name} does not say which weights it is for")
    if card["classes"] != list(CLASSES):
        raise ModelFileError(f"{path.name} has the classes {card['classes']}, not {list(CLASSES)}")
    return card


def verify_file(weights: Path) -> tuple[Card, str]:
    """Check a model file against its card without torch; returns (card, sha256 of the weights).

    Raises :class:`ModelFileError` when either is missing, the hash differs (tampered with or
    truncated), or the copy of the card inside the weights says something else than the card. A
    :func:`save_model` that was killed before its last rename is completed first.
    """
    card = read_card(weights)
    try:
        with weights.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"{weights.name} cannot be read ({error.strerror})") from None
    if sha256 != card["weights"].get("sha256") and _finish_save(weights, sha256):
        card = read_card(weights)
    if sha256 != card["weights"].get("sha256"):
        size, stated = weights.stat().st_size, card["weights"].get("bytes")
        what = "is truncated" if isinstance(stated, int) and size < stated else "was changed"
        raise ModelFileError(f"{weights.name} {what}: its sha256 is not the one on its card")
    inside = _metadata(weights)
    for key in (*_SERVING_KEYS, *_OPTIONAL_KEYS):
        if inside.get(key) != card.get(key):
            raise ModelFileError(f"the card of {weights.name} was changed: {key} differs")
    return card, sha256


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hex. Raises :class:`ModelFileError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read ({error.strerror})") from None


def load_model(weights: Path | str | None = None) -> LoadedModel:
    """Load and verify a model file (default: :func:`shipped_path`).

    The network is float32, in evaluation mode, on the CPU. Raises :class:`ModelFileError` for
    anything that is missing, truncated, tampered with, or of another architecture.
    """
    from ml import model
    from ml.preprocessing import Preprocessing

    path = Path(weights) if weights is not None else shipped_path()
    card, sha256 = verify_file(path)
    try:
        preprocessing = Preprocessing.from_dict(card["preprocessing"])
        network = model.build_network(card["layout"])
        point = OperatingPoint(
            float(card["operating_point"]["threshold"]),
            float(card["operating_point"]["sensitivity"]),
        )
        temperature = float(card["temperature"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"the card of {path.name} is not understood: {error}") from None
    model.load_trained(network, model.read_weights(path), source=path.name)
    network.eval()
    detector = _detector(path, card)
    return LoadedModel(
        network=network,
        card=card,
        path=path,
        version=str(card["version"]),
        sha256=sha256,
        layout=card["layout"],
        classes=tuple(card["classes"]),
        preprocessing=preprocessing,
        temperature=temperature,
        operating_point=point,
        detector=detector,
    )


def _detector(path: Path, card: Card) -> Detector | None:
    """The refusal check of a verified file, None where its card has none."""
    from ml import model
    from ml.refusal import Detector

    if card.get("refusal") is None:
        return None
    try:
        return Detector.from_tensors(model.read_tensors(path), card["refusal"])
    except ValueError as error:
        raise ModelFileError(f"the card of {path.name} is not understood: {error}") from None


def add_detector(weights: Path, detector: Detector, out: Path | None = None) -> Card:
    """Write a model file again with this refusal check, in the place of an earlier one.

    ``out`` defaults to the same file. The network's tensors stay as they are, bit for bit; the
    hash is a new one. Returns the card as written. Raises :class:`ModelFileError` for a bad file.
    """
    from ml import model

    card, _ = verify_file(weights)
    kept = {k: v for k, v in model.read_tensors(weights).items() if not k.startswith("refusal.")}
    state = {**kept, **detector.to_tensors()}
    return save_model(out or weights, state, {**card, "refusal": detector.to_card()})


@dataclass(frozen=True)
class TrainedPictures:
    """What a model file tells of each training picture.

    The first 8 bytes of its SHA-256, and its 64-bit perceptual hash (none in earlier files).
    """

    digests: frozenset[bytes]
    hashes: frozenset[int]

    @staticmethod
    def row(sha256: str, phash: int) -> list[int]:
        """One picture's 16 bytes in the file: of its SHA-256, then its hash, big-endian."""
        return [*bytes.fromhex(sha256)[:8], *phash.to_bytes(8, "big")]


def trained_pictures(weights: Path) -> TrainedPictures | None:
    """What the file tells of its training pictures; None in files that tell nothing.

    Raises :class:`ModelFileError` if the file cannot be read.
    """
    from ml import model

    known = model.read_tensors(weights).get(model.PICTURES)
    if known is None:
        return None
    rows = [bytes(row) for row in known.tolist()]
    return TrainedPictures(
        frozenset(row[:8] for row in rows),
        frozenset(int.from_bytes(row[8:], "big") for row in rows if len(row) == 16),
    )


def save_model(weights: Path, state: dict[str, Tensor], card: Card) -> Card:
    """Write weights (fp16, vectors float32) and card by atomic rename, card last.

    The new card lies beside them under another name before the weights change, so that a process
    killed between the two renames leaves a pair that :func:`verify_file` can complete.
    ``card`` needs the serving entries; ``weights`` (file, sha256, bytes) is filled in here.
    Returns the card as written.
    """
    import torch
    from safetensors.torch import save

    tensors = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        # Running variances fall below what fp16 resolves; vectors are small, so they stay whole.
        dtype = torch.float32 if tensor.ndim < 2 else torch.float16
        if not tensor.is_floating_point():
            dtype = tensor.dtype
        tensors[name] = tensor.detach().cpu().to(dtype).contiguous()
    serving = {key: card[key] for key in _SERVING_KEYS}
    serving |= {key: card[key] for key in _OPTIONAL_KEYS if card.get(key) is not None}
    inside = json.dumps(serving, sort_keys=True)
    data = save(tensors, metadata={_METADATA_KEY: inside})
    written = {
        **card,
        "weights": {
            "file": weights.name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "dtype": "float16, vectors float32",
        },
    }
    write_atomic(_coming_card(weights), _card_bytes(written))
    write_atomic(weights, data)
    _coming_card(weights).replace(card_path(weights))
    return written


def _coming_card(weights: Path) -> Path:
    """Where a card waits for its weights."""
    return card_path(weights).with_suffix(".json.next")


def _finish_save(weights: Path, sha256: str) -> bool:
    """Put the waiting card of exactly these weights in place; False where there is none."""
    coming = _coming_card(weights)
    try:
        stated = json.loads(coming.read_bytes())["weights"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
    if stated != sha256:
        return False
    try:
        coming.replace(card_path(weights))
    except OSError as error:
        raise ModelFileError(
            f"the card of {weights.name} cannot be completed ({error.strerror})"
        ) from None
    return True


def _card_bytes(card: Card) -> bytes:
    return (json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_card(weights: Path, card: Card) -> None:
    """Write the card beside ``weights`` by atomic rename (its serving entries must not change).

    Raises ``ValueError`` for numbers that JSON does not have (NaN, infinite).
    """
    write_atomic(card_path(weights), _card_bytes(card))


def write_atomic(path: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder, so that no half file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _metadata(weights: Path) -> dict[str, Any]:
    """The serving entries inside a safetensors file, from its header alone."""
    try:
        with weights.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 10_000_000)))
        inside = json.loads(header["__metadata__"][_METADATA_KEY])
    except (OSError, struct.error, ValueError, KeyError, TypeError):
        raise ModelFileError(f"{weights.name} was not written by bcweb") from None
    if not isinstance(inside, dict):
        raise ModelFileError(f"{weights.name} was not written by bcweb")
    return inside
