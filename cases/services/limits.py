"""The limits of intake, from the settings."""

from __future__ import annotations

from django.conf import settings

from cases import intake


def limits() -> intake.Limits:
    return intake.Limits(
        max_bytes=settings.BCWEB_MAX_UPLOAD_BYTES,
        max_pixels=settings.BCWEB_MAX_PIXELS,
        wall_s=settings.BCWEB_DECODE_SECONDS,
        memory_bytes=settings.BCWEB_DECODE_MEMORY_MB * 1024**2,
    )
