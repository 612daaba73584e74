"""Frames of a cine, several at once, for somebody who plays it."""

from __future__ import annotations

from django.core.files.base import ContentFile
from django.db import transaction

from cases import intake
from cases.access import Actor
from cases.errors import FieldInvalid
from cases.models import Image
from cases.services.audit import audit_record
from cases.services.limits import limits
from cases.services.previews import check_frame, local_copy, refuse_erased
from cases.services.review import image_kept
from cases.storage import read_bytes, store_once, uploads

# So many frames in one answer at most.
MAX_AT_ONCE = 16


def image_frames(*, actor: Actor, image: Image, first: int, count: int) -> list[bytes]:
    """PNGs of the frames from ``first`` on, ``count`` of them or as many as there are.

    As `previews.image_preview`, each made at first view and kept, but one event in the trail says
    which frames were given. ``FieldInvalid`` for a frame that is not there or a count out of
    1 to ``MAX_AT_ONCE``; ``Erased``.
    """
    refuse_erased(image)
    check_frame(image, first)
    if not 1 <= count <= MAX_AT_ONCE:
        raise FieldInvalid(errors={"count": [f"Between 1 and {MAX_AT_ONCE}."]})
    frames = range(first, min(first + count, image.frames))
    pictures = _pictures(image, frames)
    audit_record(
        actor=actor,
        action="image.frames_viewed",
        object_type="image",
        object_id=image.pk,
        site_id=image.case.site_id,
        case_id=image.case_id,
        detail={"first": first, "frames": len(pictures)},
    )
    return pictures


def _pictures(image: Image, frames: range) -> list[bytes]:
    names = {frame: f"previews/{image.sha256}-{frame}.png" for frame in frames}
    missing = [frame for frame in frames if not uploads().exists(names[frame])]
    if missing:
        # The file is brought out of the storage once, not once for each frame.
        with local_copy(image) as path:
            made = {frame: intake.render_preview(path, frame, limits()) for frame in missing}
        with transaction.atomic():
            # A picture must not outlive what was erased while it was made.
            image_kept(image.pk)
            for frame, png in made.items():
                store_once(names[frame], ContentFile(png))
    else:
        made = {}
    return [made[frame] if frame in made else read_bytes(names[frame]) for frame in frames]
