"""What people are told of a reading that went wrong; and going on without the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import InterfaceError, OperationalError, connection

log = structlog.get_logger(__name__)

# What people are told. The particulars (paths, sizes) are in the worker's log only.
DETAILS = {
    "engine_crashed": "The model's process ended while it read this image.",
    "engine_timeout": "The model took too long over this image and was ended.",
    "engine_memory": "The model used too much memory on this image and was ended.",
    "engine_answer_invalid": "The model gave no usable answer for this image.",
    "image_unreadable": "The stored image could not be decoded.",
    "model_unavailable": "The model this job was made for cannot be loaded. Run it again.",
    "storage_damaged": "The stored image is missing or damaged.",
}
# Running it again would read the image with another model: no replay.
REPLAY_DETAILS = DETAILS | {
    "model_unavailable": (
        "The model that gave this answer cannot be loaded, so the answer cannot be computed again "
        "now. The stored answer stands; tell whoever runs the service."
    ),
}


@contextmanager
def without_database(event: str) -> Iterator[None]:
    """Go on where the database does not answer, on a new connection next time."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        log.warning(event, error=type(error.__cause__ or error).__name__)
        connection.close()
