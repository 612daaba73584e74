"""How the models at work do: by version, site and device, through the eyes of an administrator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from cases.access import Actor, ActorKind, Capability
from cases.errors import NotFound
from cases.measures import CALIBRATION_BINS, Calibration, CalibrationBin, Drift, Share
from cases.models import Image, ModelVersion, Site
from cases.selectors import watch_sql
from cases.selectors.reader_first import many_answers_required
from cases.selectors.watch_drift import drifts
from cases.vocabulary import Outcome, Pathology
from cases.watching import (
    NO_DEVICE,
    NOTHING_KNOWN,
    VERIFIED,
    AlertLimits,
    Basis,
    Known,
    Mix,
    Verification,
    Watch,
    WatchFilter,
    WatchRow,
    WatchWeek,
)

# A version, a site, and a device or None for all of them.
Key = tuple[UUID, UUID, str | None]


def alert_limits() -> AlertLimits:
    """From which figures on an alert is raised, as the settings say."""
    return AlertLimits(
        psi=settings.BCWEB_WATCH_DRIFT_PSI,
        far=settings.BCWEB_WATCH_FAR_SHARE,
        refused=settings.BCWEB_WATCH_REFUSED_SHARE,
        abstained=settings.BCWEB_WATCH_ABSTAINED_SHARE,
    )


def scoped(actor: Actor, wanted: WatchFilter) -> WatchFilter:
    """``wanted`` within what the actor may see: a person's or token's own site; the machine's own
    hands (metrics, commands) all sites. ``PermissionDenied`` without OPERATE, ``NotFound`` for
    another site. Nobody who reads cases at a site that reads first."""
    actor.require(Capability.OPERATE)
    many_answers_required(actor)
    if actor.kind not in (ActorKind.USER, ActorKind.TOKEN):
        return wanted
    if wanted.site is not None and wanted.site != actor.own_site:
        raise NotFound()
    return replace(wanted, site=actor.own_site)


def watch_version(*, actor: Actor, model_id: UUID) -> UUID:
    """The id of a version that there is, for who watches; others see models by other rights."""
    actor.require(Capability.OPERATE)
    if not ModelVersion.objects.filter(pk=model_id).exists():
        raise NotFound()
    return model_id


def watch(*, actor: Actor, wanted: WatchFilter | None = None) -> Watch:
    """All figures of what is ``wanted``, counted in the database in a few passes.

    Withdrawn answers count apart, replays and answers in shadow not at all; of an image that was
    read again the newest answer counts. An erasure leaves answers and outcomes, and so the figures.
    """
    wanted = scoped(actor, wanted or WatchFilter())
    recent = recent_from(wanted)
    counts = watch_sql.counts(wanted, recent=recent)
    groups = _mixes(counts)
    _add_withdrawn(groups, wanted)
    _add_findings(groups, counts)
    calibrations = _calibrations(counts)
    versions = _versions({key[0] for key in groups})
    found: dict[Key, Drift] = {}
    for version_id, site_id in {key[:2] for key in groups}:
        asked = replace(wanted, version=version_id, site=site_id)
        card = versions[version_id].card
        for device, drift in drifts(wanted=asked, card=card, recent=recent).items():
            found[version_id, site_id, device] = drift
    sites = {site.pk: site.code for site in Site.objects.filter(pk__in={k[1] for k in groups})}
    rows = [
        _row(
            key,
            group,
            versions[key[0]],
            sites[key[1]],
            calibrations.get(key[:2]) if key[2] is None else None,
            found.get(key),
        )
        for key, group in groups.items()
    ]
    return Watch(
        rows=tuple(sorted(rows, key=lambda row: _order(row, versions))),
        weeks=_weeks(counts),
        limits=alert_limits(),
        days=settings.BCWEB_WATCH_DAYS,
    )


def recent_from(wanted: WatchFilter) -> datetime:
    """Since when answers are recent: the last BCWEB_WATCH_DAYS days of the period."""
    end = wanted.until or timezone.now()
    start = end - timedelta(days=settings.BCWEB_WATCH_DAYS)
    return max(start, wanted.since) if wanted.since else start


def watch_devices(*, actor: Actor) -> list[str]:
    """The devices of the actor's site, to choose from; NO_DEVICE last where some say nothing."""
    site = scoped(actor, WatchFilter()).site
    images = Image.objects.filter(case__site_id=site) if site else Image.objects.all()
    pairs = images.order_by().values_list("manufacturer", "manufacturer_model").distinct()
    names = {f"{maker} {model}".strip() for maker, model in pairs}
    return sorted(names - {""}) + ([NO_DEVICE] if "" in names else [])


@dataclass
class _Group:
    """The counts of one key while they are gathered."""

    mix: _Counts = field(default_factory=lambda: _Counts())
    recent: _Counts = field(default_factory=lambda: _Counts())
    withdrawn: int = 0
    # (basis, malignant or benign, what the model said) and how many findings.
    known: dict[tuple[Basis, str, str], int] = field(default_factory=lambda: defaultdict(int))
    # What the model said, and whether the outcome is verified.
    verified: dict[tuple[str, bool], int] = field(default_factory=lambda: defaultdict(int))
    neither: int = 0


@dataclass
class _Counts:
    answered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    abstained: int = 0
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, outcome: str, label: str, code: str, n: int) -> None:
        if not n:
            return
        if outcome == Outcome.ANSWERED:
            self.answered[label] += n
        elif outcome == Outcome.ABSTAINED:
            self.abstained += n
        else:
            self.refused[code or "unknown"] += n

    def mix(self) -> Mix:
        return Mix(dict(self.answered), self.abstained, dict(self.refused))


def _both(key: Key) -> tuple[Key, Key]:
    """A device's own key and that of all devices."""
    return key, (key[0], key[1], None)


def _mixes(counts: watch_sql.Counts) -> dict[Key, _Group]:
    groups: dict[Key, _Group] = defaultdict(_Group)
    for row in counts.mixes:
        said = (row["outcome"], row["label"], row["reason_code"])
        for key in _both((row["version_id"], row["site_id"], row["device"])):
            groups[key].mix.add(*said, row["n"])
            groups[key].recent.add(*said, row["late"])
    return groups


def _add_withdrawn(groups: dict[Key, _Group], wanted: WatchFilter) -> None:
    for version, site, device, n in watch_sql.withdrawn(wanted):
        for key in _both((version, site, device)):
            groups[key].withdrawn += n


def _add_findings(groups: dict[Key, _Group], counts: watch_sql.Counts) -> None:
    """The database counts a finding once for all devices too: their sum would count it twice."""
    for row in counts.findings:
        group = groups[row["version_id"], row["site_id"], row["device"]]
        said, pathology, basis, n = row["said"], row["pathology"], row["basis"], row["n"]
        truth = _truth(pathology)
        told = bool(truth) or pathology == Pathology.HIGH_RISK
        group.verified[said, told and basis in VERIFIED] += n
        if pathology and not truth:
            group.neither += n
        if truth:
            group.known[Basis(basis), truth, said] += n
            if basis in VERIFIED:
                group.known[Basis.VERIFIED, truth, said] += n


def _truth(pathology: str) -> str:
    if pathology in watch_sql.MALIGNANT:
        return "malignant"
    return "benign" if pathology in watch_sql.BENIGN else ""


def _calibrations(counts: watch_sql.Counts) -> dict[tuple[UUID, UUID], Calibration]:
    bins: dict[tuple[UUID, UUID], dict[int, CalibrationBin]] = defaultdict(dict)
    findings: dict[tuple[UUID, UUID], int] = {}
    for row in counts.bins:
        key = row["version_id"], row["site_id"]
        bins[key][row["bin"]] = CalibrationBin(row["n"], row["mean"], row["malignant"])
        findings[key] = row["findings"]
    numbers = range(1, CALIBRATION_BINS + 1)
    return {
        key: Calibration(
            tuple(own.get(number, CalibrationBin(0, 0.0, 0)) for number in numbers), findings[key]
        )
        for key, own in bins.items()
    }


def _weeks(counts: watch_sql.Counts) -> tuple[WatchWeek, ...]:
    found: dict[str, _Counts] = defaultdict(_Counts)
    for row in counts.mixes:
        found[row["week"]].add(row["outcome"], row["label"], row["reason_code"], row["n"])
    return tuple(
        WatchWeek(date.fromisoformat(week), said.mix()) for week, said in sorted(found.items())
    )


def _versions(ids: Iterable[UUID]) -> dict[UUID, ModelVersion]:
    return {model.pk: model for model in ModelVersion.objects.filter(pk__in=set(ids))}


def _row(
    key: Key,
    group: _Group,
    model: ModelVersion,
    site: str,
    calibration: Calibration | None,
    drift: Drift | None,
) -> WatchRow:
    return WatchRow(
        version_id=model.pk,
        version=model.version,
        sha256=model.sha256,
        state=model.state,
        site_id=key[1],
        site=site,
        device=key[2],
        mix=group.mix.mix(),
        recent=group.recent.mix(),
        withdrawn=group.withdrawn,
        known={basis: _known(group.known, basis) for basis in Basis},
        verification=_verification(group),
        calibration=calibration,
        drift=drift,
    )


def _known(counts: Mapping[tuple[Basis, str, str], int], basis: Basis) -> Known:
    told = {
        f"{truth}_{said}": counts.get((basis, truth, said), 0)
        for truth in ("malignant", "benign")
        for said in ("above", "below", "unanswered")
    }
    return Known(**told)


def _verification(group: _Group) -> Verification:
    if not group.verified:
        return NOTHING_KNOWN
    above, below = (
        Share(
            group.verified.get((said, True), 0),
            group.verified.get((said, True), 0) + group.verified.get((said, False), 0),
        )
        for said in ("above", "below")
    )
    return Verification(above, below, group.neither)


def _order(row: WatchRow, versions: Mapping[UUID, ModelVersion]) -> tuple[Any, ...]:
    """The live version first, then the newest; all devices before each of them."""
    made = versions[row.version_id].created_at
    live = row.state != "ACTIVE"
    return (
        live,
        -made.timestamp(),
        row.version,
        row.site,
        row.device is not None,
        row.device or "",
    )
