"""The forms of trainings as data; checking is the services'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from cases.errors import UserFacingError
from cases.models import TrainingSnapshot
from cases.portal.forms import BoundField, FieldSpec, Problem
from cases.vocabulary import IfRunning, TrainingRecipe

RECIPE = FieldSpec(
    "recipe",
    "Recipe",
    kind="radios",
    choices=(
        (TrainingRecipe.BCWEB.value, "bcweb: rising input sizes, changes between scanners"),
        (TrainingRecipe.PAPER.value, "paper: the protocol of the paper this work follows"),
    ),
    default=TrainingRecipe.BCWEB.value,
)
INIT = FieldSpec(
    "init",
    "Start from",
    kind="select",
    choices=(
        ("active", "The model that is live now"),
        ("imagenet", "ImageNet weights"),
        ("none", "Nothing: fresh weights"),
    ),
    default="active",
    width="half",
)
SEED = FieldSpec(
    "seed", "Seed", kind="number", minimum="0", step="1", default="0", width="third",
    hint="The same seed on the same data gives the same model.",
)  # fmt: skip
EPOCHS = FieldSpec(
    "epochs", "Epochs", kind="number", minimum="1", step="1", width="third",
    hint="Empty: as the recipe says.",
)  # fmt: skip
SIZE = FieldSpec(
    "size", "Input size", kind="number", minimum="32", step="32", unit="px", width="third",
    hint="Empty: 224, as the live model.",
)  # fmt: skip
LIMIT = FieldSpec(
    "limit_images", "Only so many pictures", kind="number", minimum="1", step="1", width="third",
    hint="For trying it out. Empty: all of them.",
)  # fmt: skip
REASON = FieldSpec(
    "reason", "Why", hint="Kept with the run and in the audit trail.", max_length=500
)
IF_RUNNING = FieldSpec(
    "if_running",
    "If another training is on",
    kind="radios",
    choices=(
        (IfRunning.REFUSE.value, "Tell me which, and start nothing"),
        (IfRunning.QUEUE.value, "Queue this one behind it"),
    ),
    default=IfRunning.REFUSE.value,
)


@dataclass(frozen=True)
class PlainForm:
    """Fields by name, with what was typed and why it was refused."""

    key: str
    fields: Mapping[str, BoundField]
    problems: tuple[Problem, ...] = ()
    title: str = ""


def plain_form(
    specs: Sequence[FieldSpec],
    typed: Mapping[str, str] | None = None,
    *,
    key: str = "",
    error: UserFacingError | None = None,
) -> PlainForm:
    """``specs`` bound to what was typed; with ``error`` spread over them."""
    errors = (error.errors or {}) if error is not None else {}
    problems = [
        Problem(f"{spec.label}: {sentence}", spec.name)
        for spec in specs
        for sentence in errors.get(spec.name, ())
    ]
    if error is not None and not problems:
        problems = [Problem(error.detail, "submit")]
    values = typed or {}
    bound = {
        spec.name: BoundField(
            spec, values.get(spec.name, spec.default), tuple(errors.get(spec.name, ()))
        )
        for spec in specs
    }
    title = error.title if error is not None else ""
    return PlainForm(key or str(uuid4()), bound, tuple(problems), title)


def snapshot_field(snapshots: Sequence[TrainingSnapshot]) -> FieldSpec:
    usable = [s for s in snapshots if s.data_root]
    return FieldSpec(
        "snapshot",
        "Snapshot",
        kind="select",
        hint="The frozen pictures to train from, newest first.",
        choices=tuple(
            (s.pk, f"{s.name}, {s.images} images, {s.created_at:%-d %b %Y} ({s.pk[:8]})")
            for s in usable
        ),
        default=usable[0].pk if usable else "",
    )


def start_specs(snapshots: Sequence[TrainingSnapshot]) -> list[FieldSpec]:
    return [
        snapshot_field(snapshots), RECIPE, INIT, SEED, EPOCHS, SIZE, LIMIT, REASON, IF_RUNNING,
    ]  # fmt: skip
