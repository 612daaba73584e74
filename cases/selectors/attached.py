"""The rows that belong to the rows of a page, without a query object for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import ForeignKey, Model, QuerySet

Child = TypeVar("Child", bound=Model)


class Attached(QuerySet[Child]):
    """Rows that are there already. To ask the database through them is a fault: they know nothing
    of whose rows they are."""

    def _chain(self) -> Any:
        raise TypeError("attached rows are there for all() alone: ask the model's own manager")

    def aggregate(self, *_: Any, **__: Any) -> Any:
        return self._chain()

    def iterator(self, *_: Any, **__: Any) -> Any:
        return self._chain()

    def update(self, **_: Any) -> Any:
        return self._chain()


def attach(parents: Sequence[Model], name: str, children: QuerySet[Child]) -> list[Child]:
    """Give each of ``parents`` (of one model) its ``children`` under its related name ``name``, in
    their order, by one query. Returns them all.

    As ``prefetch_related`` does, but that copies the query of the children once for each parent,
    which was a fifth of the time of a list of cases with images and jobs. The children are there
    for ``all()``; to filter, order or count them in the database raises ``TypeError``.
    """
    if not parents:
        return []
    relation: Any = parents[0]._meta.get_field(name)
    field = relation.remote_field
    assert isinstance(field, ForeignKey) and relation.one_to_many, name
    found = list(children.filter(**{f"{field.name}__in": parents}))
    of: dict[Any, list[Child]] = defaultdict(list)
    for child in found:
        of[getattr(child, field.attname)].append(child)
    nothing = children.none().query
    for parent in parents:
        attached: Attached[Child] = Attached(model=children.model, query=nothing)
        attached._result_cache = of[parent.pk]
        for child in attached._result_cache:
            field.set_cached_value(child, parent)
        cache = parent.__dict__.setdefault("_prefetched_objects_cache", {})
        cache[relation.get_accessor_name()] = attached
    return found
