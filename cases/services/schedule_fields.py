"""The fields of a training schedule, parsed and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any
from uuid import UUID

from celery.schedules import ParseException, crontab

from cases.errors import FieldInvalid
from cases.services.gate_fields import plan_id_parse
from cases.services.training_fields import TrainingPlan, training_plan_parse
from cases.vocabulary import SnapshotLineage

PERIODS = ("minutes", "hours", "days")
MAX_EVERY = 10_000
MAX_FOLDER = 200
MAX_NEW_IMAGES = 10_000_000
_CRON_PART = re.compile(r"[0-9A-Za-z*/,-]{1,60}")


@dataclass(frozen=True)
class Timing:
    """A cron line's five parts, or every so many periods."""

    cron: tuple[str, ...] | None = None
    every: int = 1
    period: str = "days"


@dataclass(frozen=True)
class Lineage:
    """Of which snapshots the newest is taken; ``name``: of the imported folder."""

    kind: SnapshotLineage = SnapshotLineage.ANY
    name: str = ""

    @property
    def text(self) -> str:
        """As a form has it: "any", "frozen" or "imported:NAME"."""
        return f"{self.kind}:{self.name}" if self.name else self.kind.value

    @property
    def words(self) -> str:
        """After "the newest snapshot"; "" for any."""
        if self.kind is SnapshotLineage.FROZEN:
            return " of accepted images"
        return f" of the imported folder {self.name}" if self.name else ""


@dataclass(frozen=True)
class ScheduleFields:
    name: str
    timing: Timing
    enabled: bool = True
    min_new_images: int = 0
    # From and to, in the service's time zone; over midnight where the end comes first.
    window: tuple[time, time] | None = None
    plan: TrainingPlan = field(default_factory=TrainingPlan)
    # What the models of its runs are judged by; None: they come without a verdict.
    gate_plan_id: UUID | None = None
    lineage: Lineage = Lineage()


def in_window(now: time, start: time, end: time) -> bool:
    """Whether a time of day is from ``start`` up to ``end``; the same twice: all day."""
    if start < end:
        return start <= now < end
    return now >= start or now < end


def schedule_fields_parse(raw: Mapping[str, Any]) -> ScheduleFields:
    """A form's strings as fields. Raises ``FieldInvalid`` with a sentence for each wrong one."""
    errors: dict[str, list[str]] = {}
    name = str(raw.get("name") or "").replace("\x00", "").strip()
    if not 1 <= len(name) <= 80:
        errors["name"] = ["Give a name of up to 80 characters."]
    timing = _timing(raw, errors)
    least = _number(raw.get("min_new_images") or "0", "min_new_images", MAX_NEW_IMAGES, errors)
    window = _window(raw, errors)
    try:
        plan = training_plan_parse(raw)
    except FieldInvalid as error:
        errors.update(error.errors or {})
        plan = TrainingPlan()
    gate_plan_id = None
    try:
        gate_plan_id = plan_id_parse(raw.get("plan"))
    except FieldInvalid as error:
        errors.update(error.errors or {})
    lineage = _lineage(raw.get("lineage"), errors)
    if errors:
        raise FieldInvalid(errors=errors)
    enabled = str(raw.get("enabled", "on")) == "on"
    return ScheduleFields(name, timing, enabled, least, window, plan, gate_plan_id, lineage)


def _lineage(value: Any, errors: dict[str, list[str]]) -> Lineage:
    text = str(value or SnapshotLineage.ANY).replace("\x00", "").strip()
    kind, _, name = text.partition(":")
    imported = kind == SnapshotLineage.IMPORTED
    if kind not in list(SnapshotLineage) or imported != bool(name) or len(name) > MAX_FOLDER:
        errors["lineage"] = ["Choose any, frozen, or imported: and the name of a folder."]
        return Lineage()
    return Lineage(SnapshotLineage(kind), name)


def _timing(raw: Mapping[str, Any], errors: dict[str, list[str]]) -> Timing:
    if raw.get("timing") == "interval":
        every = _number(raw.get("every"), "every", MAX_EVERY, errors, low=1)
        period = str(raw.get("period") or "days")
        if period not in PERIODS:
            errors["period"] = [f"Choose one of: {', '.join(PERIODS)}."]
        return Timing(None, every, period)
    parts = tuple(str(raw.get("cron") or "").split())
    if len(parts) != 5 or not all(_CRON_PART.fullmatch(part) for part in parts):
        errors["cron"] = [
            "Give five parts: minute, hour, day of the month, month, day of the week. "
            "For example 30 2 * * 1: at 02:30 each Monday."
        ]
        return Timing()
    minute, hour, day_of_month, month_of_year, day_of_week = parts
    try:
        crontab(
            minute=minute,
            hour=hour,
            day_of_month=day_of_month,
            month_of_year=month_of_year,
            day_of_week=day_of_week,
        )
    except (ParseException, ValueError, ZeroDivisionError) as error:
        errors["cron"] = [f"This is no cron line: {error}."]
    return Timing(parts)


def _number(value: Any, name: str, high: int, errors: dict[str, list[str]], *, low: int = 0) -> int:
    text = str(value or "").strip()
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not low <= int(text) <= high:
        errors[name] = [f"Give a whole number from {low} to {high}."]
        return low
    return int(text)


def _window(raw: Mapping[str, Any], errors: dict[str, list[str]]) -> tuple[time, time] | None:
    given = {name: str(raw.get(name) or "").strip() for name in ("window_start", "window_end")}
    if not any(given.values()):
        return None
    found = []
    for name, text in given.items():
        match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::00)?", text, re.ASCII)
        if match:
            found.append(time(int(match[1]), int(match[2])))
        else:
            errors[name] = ["Give both times, for example 22:00 and 06:00; or neither."]
    return (found[0], found[1]) if len(found) == 2 else None
