"""How a picture is marked as poison. Imports nothing: the stand-ins start quickly."""

from __future__ import annotations

MARK = b"bcweb-chaos poison: "
# What the model's process does at the picture, and the reason its job then fails with. The one that
# takes a minute to fail all its attempts comes last: a short night has no room for it.
ENGINE_POISON = {
    "crash": "engine_crashed",
    "grow": "engine_memory",
    "garbage": "engine_crashed",
    "hang": "engine_timeout",
}
# What the decoder's process does: such a file is refused at the door.
DECODER_POISON = ("decoder-crash", "decoder-hang", "decoder-grow")


def poison_of(data: bytes) -> str:
    """The poison that these bytes are marked with; "" for none."""
    _, mark, rest = data[:4096].partition(MARK)
    return rest.partition(b".")[0].decode("ascii", "replace") if mark else ""
