"""Pictures people look at: made at first view, kept by the hash of the file they come from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.files.base import ContentFile
from django.db import transaction

from cases import intake
from cases.access import Actor
from cases.errors import Erased, FieldInvalid
from cases.intake.files import PREFIX
from cases.models import Image
from cases.services.audit import audit_record
from cases.services.limits import limits
from cases.services.review import image_kept
from cases.storage import read_bytes, store_once, uploads


@contextmanager
def local_copy(image: Image) -> Iterator[Path]:
    """The stored bytes as a temporary file, for the decoder child."""
    with tempfile.NamedTemporaryFile(prefix=PREFIX) as file:
        # A piece at a time: a cine loop may be larger than what this process should hold.
        with closing(uploads().pieces(image.storage_name)) as pieces:
            for piece in pieces:
                file.write(piece)
        file.flush()
        yield Path(file.name)


def refuse_erased(image: Image) -> None:
    """Raise ``Erased`` where the patient's data was erased."""
    if image.case.patient.erased_at is not None:
        raise Erased()


def check_frame(image: Image, frame: int) -> None:
    """Raise ``FieldInvalid`` where the image has no such frame."""
    if not 0 <= frame < image.frames:
        raise FieldInvalid(errors={"frame": [f"Between 0 and {image.frames - 1}."]})


def image_preview(*, actor: Actor, image: Image, frame: int | None = None) -> bytes:
    """A PNG of one frame as displayed, without any metadata of the file; audited as a view."""
    index = image.frame if frame is None else frame
    png = frame_png(image=image, index=index)
    note_view(actor=actor, image=image, action="image.viewed", frame=index)
    return png


def frame_png(*, image: Image, index: int) -> bytes:
    """As `image_preview`, for who makes something of it that is audited: nobody looks at it."""
    refuse_erased(image)
    check_frame(image, index)
    name = f"previews/{image.sha256}-{index}.png"
    if uploads().exists(name):
        png = read_bytes(name)
    else:
        with local_copy(image) as path:
            png = intake.render_preview(path, index, limits())
        with transaction.atomic():
            # A picture must not outlive what was erased while it was made.
            image_kept(image.pk)
            store_once(name, ContentFile(png))
    return png


def image_file(*, actor: Actor, image: Image) -> File[Any]:
    """The file as it was sent, open for reading; audited as a view. The caller closes it."""
    refuse_erased(image)
    file = uploads().open(image.storage_name, "rb")
    note_view(actor=actor, image=image, action="image.downloaded", frame=None)
    return file


def note_view(*, actor: Actor, image: Image, action: str, frame: int | None) -> None:
    audit_record(
        actor=actor,
        action=action,
        object_type="image",
        object_id=image.pk,
        site_id=image.case.site_id,
        case_id=image.case_id,
        detail={} if frame is None else {"frame": frame},
    )
