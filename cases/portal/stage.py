"""What the picture of an image needs beside its pixels: frames, calibration, heatmaps."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext

from cases.models import Image, Result
from cases.reports.answers import ImageAnswer
from cases.reports.calibration import Calibration, calibration_of

# A cine whose header states no frame time plays at this many milliseconds per frame.
FRAME_MS = 66.0


@dataclass(frozen=True)
class HeatClass:
    """A class whose evidence the heatmap can show: in the list, under it, and for the ear."""

    value: str
    label: str
    words: str
    alt: str


def _heat_class(value: str, label: str, score: str) -> HeatClass:
    return HeatClass(
        value,
        label,
        gettext(
            "Coarse, for the {score} score, scaled to its own maximum. It shows neither extent nor "
            "cause, nor how strong the evidence is."
        ).format(score=score),
        gettext("Heatmap of the {score} score: coarse, shows neither extent nor cause").format(
            score=score
        ),
    )


def heat_classes() -> tuple[HeatClass, ...]:
    return (
        _heat_class("malignant", gettext("Malignant"), gettext("malignant")),
        _heat_class("benign", gettext("Benign"), gettext("benign")),
        _heat_class("normal", gettext("No lesion"), gettext("no-lesion")),
    )


@dataclass(frozen=True)
class Stage:
    """The picture of one image. ``frame`` is the one shown first, 0-based."""

    image: Image
    answer: ImageAnswer
    frame: int

    @property
    def heat_classes(self) -> tuple[HeatClass, ...]:
        """All of them beside an answer. An image without one is not made to speak for benign."""
        classes = heat_classes()
        return classes if self.answer.answered else classes[:1]

    @property
    def calibration(self) -> Calibration:
        return calibration_of(self.image)

    @property
    def heatmaps(self) -> list[Result]:
        """The standing answers that have a heatmap, one for each of their frames."""
        return [result for result in self.answer.standing if result.heatmap]

    @property
    def has_heatmap_here(self) -> bool:
        return any(result.frame == self.frame for result in self.heatmaps)

    @property
    def answered(self) -> str:
        """The frames with a standing result, for the marks of a cine."""
        return ",".join(str(frame) for frame in sorted({r.frame for r in self.answer.standing}))

    @property
    def config(self) -> str:
        """What the scripts of the viewer are told, as JSON."""
        image = self.image
        stated = (image.facts or {}).get("frame_time_ms")
        return json.dumps(
            {
                "width": image.width,
                "height": image.height,
                "frame": self.frame,
                "frames": image.frames,
                "frameMs": stated if isinstance(stated, int | float) and stated > 0 else FRAME_MS,
                "framesUrl": reverse("image-frames", args=[image.pk]),
                "areas": [
                    {
                        "x0": area.x0,
                        "y0": area.y0,
                        "x1": area.x1,
                        "y1": area.y1,
                        "column": area.column_mm,
                        "row": area.row_mm,
                    }
                    for area in self.calibration.areas
                ],
            }
        )
