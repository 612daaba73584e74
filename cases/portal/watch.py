"""What is watched of the models, as its page tells it: alerts in sentences, tables, drawings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext

from cases.access import Actor
from cases.errors import FieldInvalid
from cases.measures import FEWEST, FEWEST_IMAGES, Drift, Share
from cases.portal.lazily import lazy as _
from cases.portal.moments import typed_moment
from cases.reports.watch_plots import (
    MOST_WEEKS,
    calibration_svg,
    calibration_title,
    drift_svg,
    drift_title,
    weeks_svg,
    weeks_title,
)
from cases.selectors.watch import watch_version
from cases.watching import AlertKind, Basis, Watch, WatchAlert, WatchFilter, WatchRow
from cases.words import local

BASES = {
    Basis.VERIFIED: _("Histology or follow-up"),
    Basis.HISTOLOGY: _("Histology"),
    Basis.FOLLOW_UP: _("Follow-up"),
    Basis.READER_ONLY: _("Reader only"),
}
REFERENCES = {
    "training": _("the model's training images"),
    "first_images": _("the first images it read here"),
}
REFUSALS = {
    "not_ultrasound": _("no B-mode ultrasound"),
    "empty_frame": _("empty frame"),
    "colour_overlay": _("colour overlay"),
    "dual_view": _("two views"),
    "unknown": _("no reason stored"),
}
# Versions whose calibration and drift are drawn; the tables have all.
DRAWN = 4
MAX_DEVICE = 130


def typed_filter(request: HttpRequest, actor: Actor) -> WatchFilter:
    """The filter in the query. ``FieldInvalid`` for a time that is none, ``NotFound`` for a
    version that is none."""
    typed, version = request.GET.get("version", "").strip(), None
    if typed:
        try:
            version = watch_version(actor=actor, model_id=UUID(typed))
        except ValueError as error:
            raise FieldInvalid(
                errors={"version": [gettext("Choose a version of the list.")]}
            ) from error
    since, until = typed_moment(request, "since"), typed_moment(request, "until")
    if since and until and since >= until:
        raise FieldInvalid(errors={"until": [gettext("Enter a moment after the first one.")]})
    device = request.GET.get("device", "").replace("\0", "")[:MAX_DEVICE].strip()
    return WatchFilter(version=version, device=device or None, since=since, until=until)


@dataclass(frozen=True)
class OutcomeLine:
    """One line of the table of known outcomes."""

    row: WatchRow
    basis: str
    known: Any


@dataclass(frozen=True)
class Drawing:
    """A figure, the sentence it shows, and whose it is."""

    row: WatchRow | None
    title: str
    svg: str
    shares: tuple[Share, ...] = ()


def watch_view(told: Watch) -> dict[str, Any]:
    """The page's parts of ``told``."""
    drawn = told.totals[:DRAWN]
    return {
        "watch": told,
        "alerts": [alert_words(alert, told.days) for alert in told.alerts],
        "outcomes": list(_outcomes(told)),
        "verification": [row for row in told.totals if row.verification.above.n],
        "weeks": Drawing(None, weeks_title(told.weeks), weeks_svg(told.weeks)),
        "week_rows": list(reversed(told.weeks[-MOST_WEEKS:])),
        "calibrations": [
            Drawing(row, calibration_title(row.calibration), calibration_svg(row.calibration))
            for row in drawn
            if row.calibration
        ],
        "drifts": [row for row in told.rows if row.drift],
        "drift_drawings": [
            Drawing(row, drift_title(row.drift), drift_svg(row.drift), _shares(row.drift))
            for row in drawn
            if row.drift
        ],
        "references": REFERENCES,
        "refusal_words": REFUSALS,
        "fewest": FEWEST,
        "fewest_images": FEWEST_IMAGES,
    }


def _shares(drift: Drift) -> tuple[Share, ...]:
    """What the bars of a drift show, as shares of the recent images."""
    return tuple(Share(count, drift.n) for count in drift.counts)


def _outcomes(told: Watch) -> Iterator[OutcomeLine]:
    """Of all devices by each basis, of one device only what is verified."""
    for row in told.rows:
        for basis, words in BASES.items():
            known = row.known[basis]
            if known.n and (row.device is None or basis is Basis.VERIFIED):
                yield OutcomeLine(row, words, known)


def alert_words(alert: WatchAlert, days: int) -> str:
    """An alert in a sentence, and what to look at."""
    row = alert.row
    told: dict[str, Any] = {"version": row.version, "device": _device(row), "days": days}
    if alert.kind is AlertKind.DRIFT:
        return _drift_words(row, told)
    limit = local(f"{100 * alert.limit:.3g}")
    if alert.kind is AlertKind.REFUSED:
        share = row.recent.refused_share
        words = gettext(
            "%(version)s, %(device)s, last %(days)d days: %(count)d of %(n)d images were refused, "
            "surely more than %(limit)s %%. Look at what is sent, and at the reasons below."
        )
    else:
        share = row.recent.abstained_share
        words = gettext(
            "%(version)s, %(device)s, last %(days)d days: %(count)d of %(n)d images got no answer, "
            "surely more than %(limit)s %%. The model is unsure of what it sees here."
        )
    return words % (told | {"count": share.count, "n": share.n, "limit": limit})


def _drift_words(row: WatchRow, told: dict[str, Any]) -> str:
    assert row.drift is not None and row.drift.psi is not None
    told |= {
        "reference": REFERENCES[row.drift.reference.of],
        "index": local(f"{row.drift.psi:.2f}"),
        "far": row.drift.far.count,
        "n": row.drift.n,
    }
    words = gettext(
        "%(version)s, %(device)s, last %(days)d days: the images differ from %(reference)s "
        "(stability index %(index)s, %(far)d of %(n)d far away). Look for a new scanner, preset or "
        "kind of patient; consider suspending answers."
    )
    return words % told


def _device(row: WatchRow) -> str:
    if row.device is None:
        return gettext("all devices")
    return gettext("device “%(name)s”") % {"name": row.device_name}


def file_name(at: datetime) -> str:
    return f"watch-{at:%Y%m%d-%H%M}.csv"
