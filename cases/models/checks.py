"""Constraints that several models share."""

from __future__ import annotations

from enum import StrEnum

from django.db import models


def choice_check(field: str, choices: type[StrEnum], *, name: str) -> models.CheckConstraint:
    """The database refuses a value that is not among ``choices``."""
    return models.CheckConstraint(
        condition=models.Q(**{f"{field}__in": [choice.value for choice in choices]}), name=name
    )
