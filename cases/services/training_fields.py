"""What a training is asked to do, parsed and checked: the same for portal, API, command and
schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cases.errors import FieldInvalid
from cases.vocabulary import TrainingRecipe

INIT_WORDS = ("active", "imagenet", "none")
# A file that the operator laid into STATE/initial/: a plain name, never a path.
_INIT_FILE = re.compile(r"file:[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_REASON = 500
_LIMITS = {
    "seed": (0, 2**31 - 1),
    "epochs": (1, 500),
    "size": (32, 1024),
    "limit_images": (1, 10_000_000),
}


@dataclass(frozen=True)
class TrainingPlan:
    """How to train. None: what the recipe says; for ``limit_images``: all pictures."""

    recipe: TrainingRecipe = TrainingRecipe.BCWEB
    init: str = "active"
    seed: int = 0
    epochs: int | None = None
    size: int | None = None
    limit_images: int | None = None

    def canonical(self) -> dict[str, Any]:
        return {**asdict(self), "recipe": self.recipe.value}


def training_plan_parse(raw: Mapping[str, Any]) -> TrainingPlan:
    """``raw`` (strings of a form, or values of JSON) as a plan.

    Raises ``FieldInvalid`` with a sentence for each field that cannot be.
    """
    errors: dict[str, list[str]] = {}
    numbers = {name: _number(raw.get(name), name, errors) for name in _LIMITS}
    size = numbers["size"]
    if size is not None and size % 32:
        errors["size"] = ["Give a multiple of 32, for example 224."]
    try:
        recipe = TrainingRecipe(str(raw.get("recipe") or TrainingRecipe.BCWEB.value))
    except ValueError:
        recipe = TrainingRecipe.BCWEB
        errors["recipe"] = [f"Choose one of: {', '.join(r.value for r in TrainingRecipe)}."]
    init = str(raw.get("init") or "active")
    if init not in INIT_WORDS and not _INIT_FILE.fullmatch(init):
        errors["init"] = [
            "Choose active, imagenet, none, or file:NAME for a file in the folder of initial "
            "weights."
        ]
    if errors:
        raise FieldInvalid(errors=errors)
    return TrainingPlan(
        recipe, init, numbers["seed"] or 0, numbers["epochs"], size, numbers["limit_images"]
    )


def _number(value: Any, name: str, errors: dict[str, list[str]]) -> int | None:
    if value is None or value == "":
        return None
    low, high = _LIMITS[name]
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII):
        errors[name] = [f"Give a whole number from {low} to {high}."]
        return None
    number = int(text)
    if not low <= number <= high:
        errors[name] = [f"Give a whole number from {low} to {high}."]
    return number


def reason_parse(raw: Any) -> str:
    """A reason as typed. ``FieldInvalid`` where there is none, or more than fits."""
    reason = str(raw or "").replace("\x00", "").strip()
    if not reason:
        raise FieldInvalid(errors={"reason": ["Say why, in a sentence."]})
    if len(reason) > MAX_REASON:
        raise FieldInvalid(errors={"reason": [f"At most {MAX_REASON} characters."]})
    return reason
