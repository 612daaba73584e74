"""Which rows need which stored objects, in both directions and in batches."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, CharField, F, Func, Model, QuerySet, Value

from cases.models import Frame, Image, ModelVersion, TrainingRun, TrainingSnapshot

_BATCH = 500
_PREVIEW = re.compile(r"previews/([0-9a-f]{64})-\d+\.png")


@dataclass(frozen=True)
class Reference:
    """A row that needs the object ``name``. ``sha256`` and ``size`` where the row tells them."""

    kind: str
    id: str
    name: str
    sha256: str = ""
    size: int | None = None

    @property
    def object(self) -> str:
        return f"{self.kind}:{self.id}"


def _rows() -> dict[str, QuerySet[Any]]:
    """By kind: every row that needs an object, as (pk, needs, told_sha256, told_size)."""
    unknown = Value(None, output_field=BigIntegerField(null=True))
    in_name = Func(
        F("gate_report"),
        Value("[0-9a-f]{64}"),
        function="substring",
        output_field=CharField(),
    )
    given: dict[str, tuple[QuerySet[Any], Any, Any, Any]] = {
        "image": (
            Image.objects.exclude(storage_name=""),
            F("storage_name"),
            F("sha256"),
            F("size"),
        ),
        "frame": (Frame.objects.all(), F("storage_name"), F("sha256"), unknown),
        "model": (ModelVersion.objects.all(), F("storage_name"), F("sha256"), F("size")),
        "snapshot": (
            TrainingSnapshot.objects.all(),
            F("storage_name"),
            F("document_sha256"),
            unknown,
        ),
        "gate_report": (
            TrainingRun.objects.exclude(gate_report=""),
            F("gate_report"),
            in_name,
            unknown,
        ),
    }
    return {
        kind: rows.annotate(needs=name, told_sha256=sha256, told_size=size)
        for kind, (rows, name, sha256, size) in given.items()
    }


def _references(kind: str, rows: QuerySet[Any]) -> list[Reference]:
    told = rows.values_list("pk", "needs", "told_sha256", "told_size")
    return [Reference(kind, str(pk), name, sha256 or "", size) for pk, name, sha256, size in told]


def references_to(names: Sequence[str]) -> dict[str, list[Reference]]:
    """The rows that need these objects. A preview is needed by every image of its file."""
    found: dict[str, list[Reference]] = defaultdict(list)
    for kind, rows in _rows().items():
        for reference in _references(kind, rows.filter(needs__in=names)):
            found[reference.name].append(reference)
    for name, image_id in _previewed(names):
        found[name].append(Reference("preview", image_id, name))
    return found


def _previewed(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    of_file: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if match := _PREVIEW.fullmatch(name):
            of_file[match[1]].append(name)
    if not of_file:
        return
    for pk, sha256 in Image.objects.filter(sha256__in=of_file).values_list("pk", "sha256"):
        for name in of_file[sha256]:
            yield name, str(pk)


def references_all() -> Iterator[list[Reference]]:
    """Every row that needs an object, in batches by primary key. Previews are not among them:
    one that is missing is made again."""
    for kind, rows in _rows().items():
        after: Any = None
        while batch := _page(kind, rows, after):
            yield batch
            after = batch[-1].id


def _page(kind: str, rows: QuerySet[Model], after: Any) -> list[Reference]:
    page = rows if after is None else rows.filter(pk__gt=after)
    return _references(kind, page.order_by("pk")[:_BATCH])


def still_needed(reference: Reference) -> bool:
    """Whether the row is still there and still needs that object."""
    return any(
        (found.kind, found.id) == (reference.kind, reference.id)
        for found in references_to([reference.name]).get(reference.name, ())
    )
