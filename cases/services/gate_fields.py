"""The content of a gate plan, parsed and checked: the same for portal and API.

The rules are those of `ml.limits`, which this package does not import; a test holds them equal.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from cases.errors import FieldInvalid
from cases.vocabulary import GateMetric, LimitAgainst, LimitBy

MAX_NAME = 80
MAX_LIMITS = 40
MAX_SOURCE = 200
MAX_APPROVERS = 50
ROUNDS = 2000
# Below a hundred draws an interval says nothing; above ten thousand it says nothing more.
_NUMBERS: dict[str, tuple[int, int, int | None]] = {
    "minimum_malignant_patients": (1, 1_000_000, None),
    "rounds": (100, 10_000, ROUNDS),
    "seed": (0, 2**31 - 1, 0),
}
_LIMIT_KEYS = frozenset({"metric", "bound", "against", "by", "source"})
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class PlanLimit:
    """One bound on one metric, as `ml.limits.Limit`."""

    metric: GateMetric
    bound: float
    against: LimitAgainst = LimitAgainst.ABSOLUTE
    by: LimitBy = LimitBy.INTERVAL
    source: str | None = None

    def canonical(self) -> dict[str, Any]:
        return {
            "metric": self.metric.value,
            "bound": self.bound,
            "against": self.against.value,
            "by": self.by.value,
            "source": self.source,
        }


@dataclass(frozen=True)
class GatePlanFields:
    name: str
    locked_set: str
    limits: tuple[PlanLimit, ...]
    minimum_malignant_patients: int
    rounds: int
    seed: int
    # User names; empty: every approver.
    approvers: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The plan as it is frozen."""
        return {
            "locked_set": self.locked_set,
            "limits": [limit.canonical() for limit in self.limits],
            "minimum_malignant_patients": self.minimum_malignant_patients,
            "rounds": self.rounds,
            "seed": self.seed,
            "approvers": list(self.approvers),
        }


def plan_sha256(document: Mapping[str, Any]) -> str:
    """Hash of a plan's document: of its JSON with sorted keys and no blanks."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def gate_plan_parse(raw: Mapping[str, Any]) -> GatePlanFields:
    """``raw`` (JSON, or a form's strings) as a plan. Raises ``FieldInvalid`` by field name."""
    errors: dict[str, list[str]] = {}
    name = _text(raw.get("name"))
    if not 1 <= len(name) <= MAX_NAME:
        errors["name"] = [f"Give a name of up to {MAX_NAME} characters."]
    locked_set = _text(raw.get("locked_set"))
    if not re.fullmatch(r"[0-9a-f]{64}", locked_set):
        errors["locked_set"] = ["Choose a snapshot."]
    numbers = {name: _number(raw.get(name), name, errors) for name in _NUMBERS}
    limits = _limits(raw.get("limits"), errors)
    approvers = _approvers(raw.get("approvers"), errors)
    if errors:
        raise FieldInvalid(errors=errors)
    return GatePlanFields(name, locked_set, limits, approvers=approvers, **numbers)


def _text(value: Any) -> str:
    return str(value or "").replace("\x00", "").strip()


def _number(value: Any, name: str, errors: dict[str, list[str]]) -> int:
    low, high, default = _NUMBERS[name]
    if value in (None, "") and default is not None:
        return default
    text = str("" if value is None else value).strip()
    whole = not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,10}", text, re.ASCII)
    if not whole or not low <= int(text) <= high:
        errors[name] = [f"Give a whole number from {low} to {high}."]
        return low
    return int(text)


def _limits(value: Any, errors: dict[str, list[str]]) -> tuple[PlanLimit, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        errors["limits"] = ["Give at least one limit."]
        return ()
    if len(value) > MAX_LIMITS:
        errors["limits"] = [f"At most {MAX_LIMITS} limits."]
        return ()
    found: list[PlanLimit] = []
    told: list[str] = []
    for number, one in enumerate(value, start=1):
        try:
            found.append(_limit(one))
        except ValueError as error:
            told.append(f"Limit {number}: {error}")
    if told:
        errors["limits"] = told
    return tuple(found)


def _limit(raw: Any) -> PlanLimit:
    """One limit. Raises ``ValueError`` with a sentence."""
    if not isinstance(raw, Mapping):
        raise ValueError("give an object with metric and bound.")
    unknown = sorted(str(key) for key in set(raw) - _LIMIT_KEYS)
    if unknown:
        raise ValueError(f"{unknown[0][:40]} is not known of a limit.")
    metric = _choice(raw.get("metric"), GateMetric, "metric")
    against = _choice(raw.get("against") or LimitAgainst.ABSOLUTE.value, LimitAgainst, "against")
    by = _choice(raw.get("by") or LimitBy.INTERVAL.value, LimitBy, "by")
    low = -1.0 if against is LimitAgainst.ACTIVE else 0.0
    source = _text(raw.get("source")) or None
    if source is not None and len(source) > MAX_SOURCE:
        raise ValueError(f"a source has at most {MAX_SOURCE} characters.")
    return PlanLimit(metric, _bound(raw.get("bound"), low), against, by, source)


def _choice(value: Any, choices: type[E], name: str) -> E:
    try:
        return choices(str(value or ""))
    except ValueError:
        known = ", ".join(choice.value for choice in choices)
        raise ValueError(f"choose {name} among {known}.") from None


def _bound(value: Any, low: float) -> float:
    sentence = f"the bound is a number from {low:g} to 1."
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(sentence)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(sentence) from None
    if not math.isfinite(number) or not low <= number <= 1:
        raise ValueError(sentence)
    # The database keeps no negative zero, and another number would have another hash.
    return number + 0.0


def _approvers(value: Any, errors: dict[str, list[str]]) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > MAX_APPROVERS:
        errors["approvers"] = [f"Give a list of at most {MAX_APPROVERS} user names."]
        return ()
    return tuple(sorted({name for one in value if (name := _text(one))}))


def plan_id_parse(value: Any) -> UUID | None:
    """The id of the plan a training is asked for with; None: without one. ``FieldInvalid``."""
    text = _text(value)
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise FieldInvalid(errors={"plan": ["There is no gate plan with this id."]}) from error
