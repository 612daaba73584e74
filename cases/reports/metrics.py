"""What is watched as Prometheus metrics. Pure functions; labels come from closed or short lists:
versions that answered lately, sites, outcomes, labels and reasons. No device, no patient."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from cases.models import ModelVersion
from cases.watching import AlertKind, Watch, WatchRow

GROUP = ("version", "site")


def model_metrics(live: ModelVersion | None, *, suspended: bool) -> Iterator[Metric]:
    """Which model is live, and whether answers are suspended."""
    told = GaugeMetricFamily(
        "bcweb_model_live", "The model that answers new images: 1.", labels=("version", "sha256")
    )
    if live is not None:
        told.add_metric((live.version, live.sha256), 1)
    yield told
    yield GaugeMetricFamily(
        "bcweb_answers_suspended", "1 while answers are suspended.", value=float(suspended)
    )


def watch_metrics(told: Watch) -> Iterator[Metric]:
    """The figures of the recent days, by version and site."""
    yield GaugeMetricFamily(
        "bcweb_watch_days", "Length in days of the time these figures are of.", value=told.days
    )
    yield _images(told)
    yield _refusals(told)
    yield from _shares(told)
    yield from _drift(told)
    yield _alerts(told)


def _key(row: WatchRow) -> tuple[str, str]:
    return row.version, row.site


def _images(told: Watch) -> Metric:
    family = GaugeMetricFamily(
        "bcweb_watch_images",
        "Images read in the recent days, by what the model said; label is empty when refused or "
        "abstained.",
        labels=(*GROUP, "outcome", "label"),
    )
    for row in told.totals:
        for label, count in sorted(row.recent.answered.items()):
            family.add_metric((*_key(row), "answered", label), count)
        family.add_metric((*_key(row), "abstained", ""), row.recent.abstained)
        family.add_metric((*_key(row), "refused", ""), row.recent.all_refused)
    return family


def _refusals(told: Watch) -> Metric:
    family = GaugeMetricFamily(
        "bcweb_watch_refused_images",
        "Images refused in the recent days, by reason.",
        labels=(*GROUP, "reason"),
    )
    for row in told.totals:
        for reason, count in sorted(row.recent.refused.items()):
            family.add_metric((*_key(row), reason), count)
    return family


def _shares(told: Watch) -> Iterator[Metric]:
    """Left out where there are too few images for a figure."""
    for name, words in (("abstained", "got no answer"), ("refused", "were refused")):
        family = GaugeMetricFamily(
            f"bcweb_watch_{name}_ratio",
            f"Share of the recent days' images that {words}.",
            labels=GROUP,
        )
        for row in told.totals:
            share = getattr(row.recent, f"{name}_share").value
            if share is not None:
                family.add_metric(_key(row), share)
        yield family


def _drift(told: Watch) -> Iterator[Metric]:
    index = GaugeMetricFamily(
        "bcweb_watch_drift_index",
        "Stability index of the recent images' feature distances; 0 is no change.",
        labels=(*GROUP, "reference"),
    )
    far = GaugeMetricFamily(
        "bcweb_watch_drift_far_ratio",
        "Share of the recent images beyond the reference's 95th percentile; 0.05 is no change.",
        labels=(*GROUP, "reference"),
    )
    for row in told.totals:
        if row.drift is None:
            continue
        labels = (*_key(row), row.drift.reference.of)
        if row.drift.psi is not None:
            index.add_metric(labels, row.drift.psi)
        if row.drift.far.value is not None:
            far.add_metric(labels, row.drift.far.value)
    yield index
    yield far


def _alerts(told: Watch) -> Metric:
    family = GaugeMetricFamily(
        "bcweb_watch_alerts",
        "How many groups (all devices together, and each) raise this alert at the portal.",
        labels=(*GROUP, "kind"),
    )
    raised = [(alert.row.version_id, alert.row.site_id, alert.kind) for alert in told.alerts]
    for row in told.totals:
        for kind in AlertKind:
            count = raised.count((row.version_id, row.site_id, kind))
            family.add_metric((*_key(row), kind.value), count)
    return family
