"""The submission form as data: which fields, in which groups, with which words.

Checking is `services.fields.submission_fields_parse`, the same for the API; nothing is checked
twice here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.errors import (
    FILE_ERROR_CODES,
    FieldInvalid,
    IdempotencyConflict,
    IdentityMismatch,
    UserFacingError,
)
from cases.portal.wording import INDICATION, LATERALITY, QUADRANT, SEX
from cases.told import told
from cases.vocabulary import Priority

Choices = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FieldSpec:
    """One field. ``kind``: text, date, number, select or radios."""

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    choices: Choices = ()
    default: str = ""
    max_length: int | None = None
    width: str = "full"
    minimum: str = ""
    maximum: str = ""
    step: str = ""
    unit: str = ""


@dataclass(frozen=True)
class GroupSpec:
    legend: str
    hint: str
    fields: tuple[FieldSpec, ...]


def _choices(words: Mapping[Any, str]) -> Choices:
    return tuple((str(value), label) for value, label in words.items())


def _patient() -> GroupSpec:
    return GroupSpec(
        gettext("Patient"),
        gettext(
            "What you leave out is taken from the DICOM header. Other files need the patient id; "
            "all else is optional."
        ),
        (
            FieldSpec(
                "patient_id",
                gettext("Patient id"),
                hint=gettext("Needed for files other than DICOM."),
                max_length=64,
                width="half",
            ),
            FieldSpec(
                "patient_issuer",
                gettext("Issuer of the patient id"),
                hint=gettext("Only if it is not your own site."),
                max_length=64,
                width="half",
            ),
            FieldSpec(
                "patient_name",
                gettext("Name"),
                hint=gettext("Family name, given name. For example: Doe, Jane"),
                max_length=324,
            ),
            FieldSpec("birth_date", gettext("Date of birth"), kind="date", width="third"),
            FieldSpec(
                "sex",
                gettext("Sex"),
                kind="radios",
                choices=(*_choices(SEX), _not_stated()),
                width="two-thirds",
            ),
        ),
    )


def _study() -> GroupSpec:
    return GroupSpec(
        gettext("Study"),
        "",
        (
            FieldSpec(
                "accession_number",
                gettext("Accession number"),
                hint=gettext("Images with the same number join one case."),
                max_length=16,
                width="half",
            ),
            FieldSpec(
                "accession_issuer",
                gettext("Issuer of the accession number"),
                hint=gettext("Only if two systems may use the same number."),
                max_length=64,
                width="half",
            ),
            FieldSpec(
                "indication",
                gettext("Indication"),
                kind="select",
                choices=(_not_stated(), *_choices(INDICATION)),
                width="half",
            ),
        ),
    )


def _place() -> GroupSpec:
    hours = ((str(n), gettext("{hour} o'clock").format(hour=n)) for n in (12, *range(1, 12)))
    return GroupSpec(
        gettext("Where in the breast"),
        gettext("If known. It applies to all files of this submission."),
        (
            FieldSpec(
                "laterality",
                gettext("Side"),
                kind="radios",
                choices=_choices(LATERALITY),
                default="unknown",
            ),
            FieldSpec(
                "clock_position",
                gettext("Clock position"),
                kind="select",
                choices=(_not_stated(), *hours),
                width="third",
            ),
            FieldSpec(
                "quadrant",
                gettext("Quadrant"),
                kind="select",
                choices=(_not_stated(), *_choices(QUADRANT)),
                width="third",
            ),
            FieldSpec(
                "nipple_distance_mm",
                gettext("Distance from the nipple"),
                kind="number",
                minimum="0",
                maximum="300",
                step="0.1",
                unit="mm",
                width="third",
            ),
        ),
    )


def _priority() -> GroupSpec:
    choices = (
        (Priority.ROUTINE.value, gettext("Routine")),
        (Priority.URGENT.value, gettext("Urgent")),
        (Priority.STAT.value, gettext("Stat: the patient is waiting")),
    )
    field = FieldSpec(
        "priority",
        gettext("How soon the answer is needed"),
        kind="radios",
        choices=choices,
        default=Priority.ROUTINE.value,
    )
    return GroupSpec(gettext("Priority"), "", (field,))


def groups() -> tuple[GroupSpec, ...]:
    """The form's fields in the language of whoever asks."""
    return _patient(), _study(), _place(), _priority()


def _not_stated() -> tuple[str, str]:
    return "", gettext("Not stated")


def _on_bad_file() -> FieldSpec:
    return FieldSpec(
        "on_bad_file",
        gettext("If one of several files cannot be read"),
        kind="radios",
        choices=(
            ("reject_all", gettext("Take in none of them and tell me which")),
            ("skip", gettext("Take in the others and list what was skipped")),
        ),
        default="reject_all",
    )


def _override() -> FieldSpec:
    return FieldSpec(
        "override_reason",
        gettext("Why the form is right and the DICOM header is not"),
        hint=gettext(
            "Only if you have checked that the file belongs to this patient. Kept with the case."
        ),
        max_length=500,
    )


def _labels() -> dict[str, str]:
    specs = (*(s for group in groups() for s in group.fields), _on_bad_file(), _override())
    return {spec.name: spec.label for spec in specs} | {"file": gettext("Files")}


@dataclass(frozen=True)
class BoundField:
    """A field with what was typed into it and what is wrong with that."""

    spec: FieldSpec
    value: str
    errors: tuple[str, ...] = ()

    @property
    def described_by(self) -> str:
        """Ids of hint and errors, for ``aria-describedby``."""
        ids = [f"{self.spec.name}-hint"] if self.spec.hint else []
        if self.errors:
            ids.append(f"{self.spec.name}-error")
        return " ".join(ids)


@dataclass(frozen=True)
class Problem:
    """One line of the summary on top; ``field`` is where its link leads."""

    text: str
    field: str


@dataclass(frozen=True)
class SubmissionForm:
    """The form as it is shown: empty, or with what was typed and why it was refused."""

    key: str
    groups: tuple[tuple[GroupSpec, tuple[BoundField, ...]], ...]
    on_bad_file: BoundField
    override: BoundField | None
    file_errors: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    title: str = ""


@dataclass
class _Refusal:
    """A refused submission, spread over the form."""

    problems: list[Problem] = field(default_factory=list)
    by_field: dict[str, list[str]] = field(default_factory=dict)
    file_errors: list[str] = field(default_factory=list)


def name_as_dicom(typed: str) -> str:
    """ "Doe, Jane" as a DICOM person name; what holds a `^` is one already."""
    if "^" in typed or "," not in typed:
        return typed
    family, _, given = typed.partition(",")
    return f"{family.strip()}^{given.strip()}".rstrip("^")


def name_as_typed(name: str) -> str:
    """A DICOM person name as somebody would type it: "Doe, Jane".

    Only where `name_as_dicom` makes the same name of it again; else as it is.
    """
    family, _, given = name.partition("^")
    typed = f"{family}, {given}" if family and given else name
    return typed if name_as_dicom(typed) == name else name


def empty_form() -> SubmissionForm:
    return _form({}, key=str(uuid4()))


def refused_form(typed: Mapping[str, str], *, key: str, error: UserFacingError) -> SubmissionForm:
    """The form with everything typed kept, and the refusal summed up and put in its place.

    The files themselves cannot be sent back to a browser: where it runs our script they stay
    chosen, else they are chosen again.
    """
    if isinstance(error, IdempotencyConflict):
        # The form of before was taken in; what is typed now is another one.
        key = str(uuid4())
    return _form(typed, key=key, error=error)


def _form(
    typed: Mapping[str, str], *, key: str, error: UserFacingError | None = None
) -> SubmissionForm:
    refusal = _spread(error) if error is not None else _Refusal()

    def bound(spec: FieldSpec) -> BoundField:
        value = typed.get(spec.name, spec.default)
        return BoundField(spec, value, tuple(refusal.by_field.get(spec.name, ())))

    override = _override()
    wants_override = _can_overrule(error) or bool(typed.get(override.name))
    return SubmissionForm(
        key=key,
        groups=tuple((group, tuple(bound(spec) for spec in group.fields)) for group in groups()),
        on_bad_file=bound(_on_bad_file()),
        override=bound(override) if wants_override else None,
        file_errors=tuple(refusal.file_errors),
        problems=tuple(refusal.problems),
        title=_title(error),
    )


def _can_overrule(error: UserFacingError | None) -> bool:
    """Whether a person may keep the form: a header differs in something the form itself tells.

    A patient's record cannot be overruled (no file), nor two headers that differ (no field).
    """
    if error is None or error.file is None or not error.errors:
        return False
    other_side = isinstance(error, FieldInvalid) and "laterality" in error.errors
    return other_side or isinstance(error, IdentityMismatch)


_SENT_BEFORE = _(
    "This form was submitted before with other content, and that case is stored. To send what "
    "stands here as a new submission, press Submit case again."
)


def _title(error: UserFacingError | None) -> str:
    if isinstance(error, IdempotencyConflict):
        return gettext("This form was submitted before")
    return told(error.title) if error is not None else ""


def _spread(error: UserFacingError) -> _Refusal:
    refusal = _Refusal()
    if isinstance(error, IdempotencyConflict):
        refusal.problems.append(Problem(gettext(_SENT_BEFORE), "submit"))
        return refusal
    about_file = error.file is not None or error.code in FILE_ERROR_CODES
    if about_file:
        name = f"“{error.file}”: " if error.file else ""
        sentence = f"{name}{told(error.detail)}"
        refusal.file_errors.append(sentence)
        refusal.problems.append(Problem(f"{sentence} {_file_step(error)}".strip(), "file"))
    for name, english in (error.errors or {}).items():
        sentences = told(english)
        where = "file" if name == "file" else name
        if where == "file":
            refusal.file_errors.extend(sentences)
        else:
            refusal.by_field.setdefault(where, []).extend(sentences)
        if not about_file or name != "file":
            refusal.problems.extend(_problems(where, sentences))
    if not refusal.problems:
        refusal.problems.append(Problem(told(error.detail), _field_of(error)))
        if _field_of(error) == "accession_number":
            refusal.by_field["accession_number"] = [told(error.detail)]
    return refusal


def _problems(name: str, sentences: Sequence[str]) -> list[Problem]:
    label = _labels().get(name, name)
    return [Problem(f"{label}: {sentence}", name) for sentence in sentences]


def _file_step(error: UserFacingError) -> str:
    if _can_overrule(error):
        return gettext("If the form is right, say why below the files; else correct the form.")
    if error.code in FILE_ERROR_CODES:
        return gettext("Remove or replace this file, or let unreadable files be skipped.")
    return ""


def _field_of(error: UserFacingError) -> str:
    return "accession_number" if error.code == "accession_conflict" else "submit"
