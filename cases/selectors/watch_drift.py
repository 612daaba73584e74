"""How far the recent images' features lie from those a model was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from cases.measures import DRIFT_BINS, Drift, Reference, reference_of_card
from cases.selectors import watch_sql
from cases.watching import WatchFilter

# The first images never change once there are enough: by version, site and how many are asked for.
_FILLED: dict[tuple[UUID, UUID, int], tuple[Reference, datetime]] = {}
_POINTS = [tenth / DRIFT_BINS for tenth in range(1, DRIFT_BINS)] + [0.95]


def drifts(
    *, wanted: WatchFilter, card: Mapping[str, Any], recent: datetime
) -> dict[str | None, Drift]:
    """By device, and under None for all of them: the images of ``wanted``, which names a version
    and a site, read since ``recent``. Empty where there is nothing to hold them against.

    The reference is that of the card, made of the training images. A model without one is held
    against the first BCWEB_WATCH_REFERENCE images it read at the site, once it has read them: that
    shows change since then, not how far the site is from the training data. Refused images count
    as refused and not here.
    """
    reference, after = reference_of_card(card), recent
    if reference is None:
        reference, filled = _of_first_images(wanted)
        if reference is None or filled is None:
            return {}
        after = max(recent, filled)
    found: dict[str | None, tuple[list[int], int]] = {}
    for device, tenth, n, beyond in watch_sql.distances(
        replace(wanted, since=after),
        after=after,
        deciles=list(reference.deciles),
        p95=reference.p95,
    ):
        for key in (device, None):
            counts, so_far = found.get(key, ([0] * DRIFT_BINS, 0))
            counts[tenth] += n
            found[key] = (counts, so_far + beyond)
    return {
        device: Drift(reference, tuple(counts), beyond)
        for device, (counts, beyond) in found.items()
    }


def _of_first_images(wanted: WatchFilter) -> tuple[Reference | None, datetime | None]:
    assert wanted.version is not None and wanted.site is not None
    size = settings.BCWEB_WATCH_REFERENCE
    known = _FILLED.get((wanted.version, wanted.site, size))
    if known is not None:
        return known
    n, filled, points = watch_sql.first_distances(
        version=wanted.version, site=wanted.site, size=size, points=_POINTS
    )
    if n < size or points is None or filled is None:
        return None, None
    reference = Reference(tuple(points[:-1]), points[-1], n, "first_images")
    _FILLED[wanted.version, wanted.site, size] = (reference, filled)
    return reference, filled
