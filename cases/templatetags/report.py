"""The scores of a printed report."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext

from cases.reports.case_report import Scale

register = template.Library()

_LEFT, _ACROSS, _ROW = 132, 220, 19
# Half the width of the threshold's label. It has a line of its own under the ends of the axis: the
# thresholds of screening are close to 0.
_HALF = 52


@register.inclusion_tag("cases/partials/report_scale.html")
def report_scale(scale: Scale) -> dict[str, Any]:
    """The scores as bars on one axis in a drawing that prints: no width depends on the page."""
    axis = _ROW * len(scale.scores)
    at = _LEFT + _ACROSS * scale.threshold
    told = ", ".join(f"{score.label} {score.text}" for score in scale.scores)
    return {
        "scale": scale,
        "rows": [
            {
                "score": score,
                "top": _ROW * n + 4,
                "baseline": _ROW * n + 13,
                "width": f"{_ACROSS * min(max(score.value, 0.0), 1.0):.1f}",
            }
            for n, score in enumerate(scale.scores)
        ],
        "at": f"{at:.1f}",
        "label_at": f"{min(max(at, _HALF), _LEFT + _ACROSS - _HALF):.1f}",
        "axis": axis,
        "ends": axis + 14,
        "label": axis + 29,
        "height": axis + 33,
        "words": gettext("Model scores from 0 to 1: {told}. {threshold_text}.").format(
            told=told, threshold_text=scale.threshold_text
        ),
    }
