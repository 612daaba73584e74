"""The form of a gate plan as data; checking is the services'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from cases.errors import UserFacingError
from cases.models import GatePlan, TrainingSnapshot
from cases.portal.forms import BoundField, FieldSpec, Problem
from cases.portal.gates import METRICS
from cases.portal.lazily import lazy as _
from cases.portal.training_forms import PlainForm, plain_form, snapshot_field, told_errors
from cases.services.gate_fields import MAX_NAME, ROUNDS
from cases.vocabulary import LimitAgainst, LimitBy

ROWS = 12
# So many are seen at once; the others unfold.
FIRST_ROWS = 3
PARTS = ("metric", "bound", "against", "by", "source")
NAME = FieldSpec("name", _("Name"), max_length=MAX_NAME)
MINIMUM = FieldSpec(
    "minimum_malignant_patients",
    _("Least number of malignant patients"),
    kind="number",
    minimum="1",
    step="1",
    default="50",
    width="half",
    hint=_("With fewer in the locked set the verdict is: insufficient evidence."),
)
DRAWS = FieldSpec(
    "rounds",
    _("Draws of the bootstrap"),
    kind="number",
    minimum="100",
    maximum="10000",
    step="1",
    default=str(ROUNDS),
    width="third",
    # xgettext:no-python-format
    hint=_("For the 95 % intervals."),
)
SEED = FieldSpec(
    "seed",
    _("Seed"),
    kind="number",
    minimum="0",
    step="1",
    default="0",
    width="third",
    hint=_("So that the verdict can be repeated."),
)


@dataclass(frozen=True)
class LimitRow:
    number: int
    fields: tuple[BoundField, ...]


@dataclass(frozen=True)
class GateForm:
    """The plain fields, the rows of limits and the approvers, with what was typed and refused."""

    plain: PlainForm
    rows: tuple[LimitRow, ...]
    more_rows: tuple[LimitRow, ...]
    more_open: bool
    limit_errors: tuple[str, ...]
    # (user name, chosen)
    approvers: tuple[tuple[str, bool], ...]
    approver_errors: tuple[str, ...]
    problems: tuple[Problem, ...]
    title: str


def _row_specs(number: int) -> tuple[FieldSpec, ...]:
    return (
        FieldSpec(
            f"metric_{number}",
            _("Metric"),
            kind="select",
            choices=(("", _("None")), *((str(key), label) for key, label in METRICS.items())),
            width="half",
        ),
        FieldSpec(f"bound_{number}", _("Bound"), kind="number", minimum="-1", maximum="1",
                  step="any", width="half"),
        FieldSpec(
            f"against_{number}",
            _("Holds for"),
            kind="select",
            choices=(
                (LimitAgainst.ABSOLUTE.value, _("the model itself")),
                (LimitAgainst.ACTIVE.value, _("its difference to the live model")),
            ),
            default=LimitAgainst.ABSOLUTE.value,
            width="half",
        ),
        FieldSpec(
            f"by_{number}",
            _("Judged by"),
            kind="select",
            choices=(
                (LimitBy.INTERVAL.value, _("the worse end of the interval")),
                (LimitBy.VALUE.value, _("the figure")),
            ),
            default=LimitBy.INTERVAL.value,
            width="half",
        ),
        FieldSpec(f"source_{number}", _("Only images of the source"), max_length=200,
                  width="half"),
    )  # fmt: skip


def plain_specs(snapshots: Sequence[TrainingSnapshot]) -> list[FieldSpec]:
    pictures = snapshot_field(snapshots)
    locked = FieldSpec(
        "locked_set",
        _("Locked set"),
        kind="select",
        hint=_("The images that models are judged on. Nobody can train on them from then on."),
        choices=pictures.choices,
        default=pictures.default,
    )
    return [NAME, locked, MINIMUM, DRAWS, SEED]


def raw_of(posted: QueryDict) -> dict[str, Any]:
    """What was typed, as `gate_plan_parse` takes it; rows without metric and bound are none."""
    rows = [
        {part: posted.get(f"{part}_{number}", "")[:300] for part in PARTS}
        for number in range(1, ROWS + 1)
    ]
    plain = {
        name: posted.get(name, "")[:300]
        for name in ("name", "locked_set", "minimum_malignant_patients", "rounds", "seed")
    }
    return {
        **plain,
        "limits": [row for row in rows if row["metric"] or row["bound"].strip()],
        "approvers": [name[:200] for name in posted.getlist("approvers")[:100]],
    }


def gate_form(
    snapshots: Sequence[TrainingSnapshot],
    approvers: Sequence[str],
    raw: Mapping[str, Any] | None = None,
    error: UserFacingError | None = None,
) -> GateForm:
    """The form with what was typed (``raw`` of `raw_of`); the rows that were filled come first."""
    raw = raw or {}
    errors = told_errors(error)
    typed = {name: value for name, value in raw.items() if isinstance(value, str)}
    plain = plain_form(plain_specs(snapshots), typed, error=error)
    limits: Sequence[Mapping[str, str]] = raw.get("limits", ())
    rows = tuple(_row(n, limits[n - 1] if n <= len(limits) else {}) for n in range(1, ROWS + 1))
    extra = [Problem(s, "metric_1") for s in errors.get("limits", ())] + [
        Problem(s, "approvers") for s in errors.get("approvers", ())
    ]
    problems = plain.problems
    if extra:
        problems = (*(p for p in problems if p.field != "submit"), *extra)
    chosen = set(raw.get("approvers", ()))
    return GateForm(
        plain,
        rows[:FIRST_ROWS],
        rows[FIRST_ROWS:],
        len(limits) > FIRST_ROWS,
        tuple(errors.get("limits", ())),
        tuple((name, name in chosen) for name in approvers),
        tuple(errors.get("approvers", ())),
        problems,
        plain.title,
    )


def _row(number: int, typed: Mapping[str, str]) -> LimitRow:
    return LimitRow(
        number,
        tuple(
            BoundField(spec, typed.get(spec.name.rpartition("_")[0], spec.default))
            for spec in _row_specs(number)
        ),
    )


def plan_field(plans: Sequence[GatePlan]) -> FieldSpec:
    """Which plan a training is judged by."""
    return FieldSpec(
        "plan",
        _("Gate plan"),
        kind="select",
        hint=_("What the model is judged by when the training ends. Frozen with the request."),
        choices=(
            ("", _("None: the model comes without a verdict and cannot go live")),
            *((str(plan.pk), f"{plan.name} ({plan.sha256[:8]})") for plan in plans),
        ),
    )
