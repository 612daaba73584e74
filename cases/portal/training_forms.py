"""The forms of trainings as data; checking is the services'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from django.utils.translation import gettext

from cases.errors import UserFacingError
from cases.models import TrainingSnapshot
from cases.portal.forms import BoundField, FieldSpec, Problem
from cases.portal.lazily import day_text, images_of
from cases.portal.lazily import lazy as _
from cases.told import told
from cases.vocabulary import IfRunning, TrainingRecipe

RECIPE = FieldSpec(
    "recipe",
    _("Recipe"),
    kind="radios",
    choices=(
        (TrainingRecipe.BCWEB.value, _("bcweb: rising input sizes, changes between scanners")),
        (TrainingRecipe.PAPER.value, _("paper: the protocol of the paper this work follows")),
    ),
    default=TrainingRecipe.BCWEB.value,
)
INIT = FieldSpec(
    "init",
    _("Start from"),
    kind="select",
    choices=(
        ("active", _("The model that is live now")),
        ("imagenet", _("ImageNet weights")),
        ("none", _("Nothing: fresh weights")),
    ),
    default="active",
    width="half",
)
SEED = FieldSpec(
    "seed", _("Seed"), kind="number", minimum="0", step="1", default="0", width="third",
    hint=_("The same seed on the same data gives the same model."),
)  # fmt: skip
EPOCHS = FieldSpec(
    "epochs", _("Epochs"), kind="number", minimum="1", step="1", width="third",
    hint=_("Empty: as the recipe says."),
)  # fmt: skip
SIZE = FieldSpec(
    "size", _("Input size"), kind="number", minimum="32", step="32", unit="px", width="third",
    hint=_("Empty: 224, as the live model."),
)  # fmt: skip
LIMIT = FieldSpec(
    "limit_images", _("Only so many images"), kind="number", minimum="1", step="1", width="third",
    hint=_("For trying it out. Empty: all of them."),
)  # fmt: skip
REASON = FieldSpec(
    "reason", _("Why"), hint=_("Kept with the run and in the audit trail."), max_length=500
)
IF_RUNNING = FieldSpec(
    "if_running",
    _("If another training is on"),
    kind="radios",
    choices=(
        (IfRunning.REFUSE.value, _("Tell me which, and start nothing")),
        (IfRunning.QUEUE.value, _("Queue this one behind it")),
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


def told_errors(error: UserFacingError | None) -> dict[str, list[str]]:
    """What was refused by the names of fields, in the language of the page."""
    errors = (error.errors or {}) if error is not None else {}
    return {name: told(lines) for name, lines in errors.items()}


def plain_form(
    specs: Sequence[FieldSpec],
    typed: Mapping[str, str] | None = None,
    *,
    key: str = "",
    error: UserFacingError | None = None,
) -> PlainForm:
    """``specs`` bound to what was typed; with ``error`` spread over them."""
    errors = told_errors(error)
    problems = [
        Problem(f"{spec.label}: {words}", spec.name)
        for spec in specs
        for words in errors.get(spec.name, ())
    ]
    if error is not None and not problems:
        problems = [Problem(told(error.detail), "submit")]
    values = typed or {}
    bound = {
        spec.name: BoundField(
            spec, values.get(spec.name, spec.default), tuple(errors.get(spec.name, ()))
        )
        for spec in specs
    }
    title = told(error.title) if error is not None else ""
    return PlainForm(key or str(uuid4()), bound, tuple(problems), title)


def snapshot_field(snapshots: Sequence[TrainingSnapshot]) -> FieldSpec:
    usable = [s for s in snapshots if s.data_root]
    return FieldSpec(
        "snapshot",
        gettext("Snapshot"),
        kind="select",
        hint=gettext("The frozen images to train from, newest first."),
        choices=tuple(
            (
                s.pk,
                f"{s.name}, {images_of(s.images)}, {day_text(s.created_at)} ({s.pk[:8]})",
            )
            for s in usable
        ),
        default=usable[0].pk if usable else "",
    )


def start_specs(snapshots: Sequence[TrainingSnapshot]) -> list[FieldSpec]:
    return [
        snapshot_field(snapshots), RECIPE, INIT, SEED, EPOCHS, SIZE, LIMIT, REASON, IF_RUNNING,
    ]  # fmt: skip
