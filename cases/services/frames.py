"""The lossless pictures of frames: what the model reads, except of a JPEG or PNG file."""

from __future__ import annotations

import hashlib

from django.core.files.base import ContentFile

from cases import intake
from cases.intake.formats import AS_SENT
from cases.models import Frame, Image
from cases.services.limits import limits
from cases.services.previews import check_frame, local_copy
from cases.storage import blob_name, store_once


def frame_store(*, image: Image, index: int, png: bytes) -> Frame:
    """The lossless PNG of one frame; equal frames share their bytes."""
    sha256 = hashlib.sha256(png).hexdigest()
    name = blob_name(sha256)
    store_once(name, ContentFile(png))
    frame, _ = Frame.objects.get_or_create(
        image=image, index=index, defaults={"storage_name": name, "sha256": sha256}
    )
    return frame


def frame_ensure(*, image: Image, index: int) -> None:
    """Make the picture of a frame that was not stored yet. ``FieldInvalid`` out of range."""
    check_frame(image, index)
    if image.format in AS_SENT or image.frame_rows.filter(index=index).exists():
        return
    with local_copy(image) as path:
        frame_store(image=image, index=index, png=intake.render_frame(path, index, limits()))
