"""Finding cases by what people know of them: the beginning of a number, words of a name."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, F, Func, Q, Value

from cases.access import Actor, Capability
from cases.errors import FieldInvalid
from cases.models import Case, Patient

# More cases than this are no answer to a search: somebody types another letter.
MAX_FOUND = 200
MIN_LENGTH, MAX_LENGTH = 2, 80
_WORD = re.compile(r"[\w]+")


class _WordsBegin(Func):
    """Whether each of the words begins one of the name's, by the index over them (migration
    0020), whose expression this is."""

    output_field = BooleanField()

    def __init__(self, name: str, query: str) -> None:
        super().__init__(F(name), Value(query))

    def as_sql(
        self, compiler: Any, connection: Any, *args: Any, **extra: Any
    ) -> tuple[str, tuple[Any, ...]]:
        name, query = (compiler.compile(part) for part in self.get_source_expressions())
        sql = (
            f"(to_tsvector('simple', translate({name[0]}, '^=,.-''', '      ')) "
            f"@@ to_tsquery('simple', {query[0]}))"
        )
        return sql, (*name[1], *query[1])


def case_search(*, actor: Actor, text: str) -> list[UUID]:
    """Ids of the cases of the actor's site that the text fits, the newest first, at most
    ``MAX_FOUND`` + 1.

    It is compared with the beginning of accession numbers and, for those who may see them, of
    patient ids and of the words of names ("jan do" finds "Doe, Jane"). ``FieldInvalid`` for less
    than two characters, ``PermissionDenied`` without VIEW_CASES.
    """
    actor.require(Capability.VIEW_CASES)
    told = " ".join(text.replace("\x00", " ").split())
    if not MIN_LENGTH <= len(told) <= MAX_LENGTH:
        sentence = f"Type at least {MIN_LENGTH} characters, and at most {MAX_LENGTH}."
        raise FieldInvalid(sentence, errors={"q": [sentence]})
    cases = Case.objects.filter(site_id=actor.own_site)
    newest = ("-created_at", "-id")
    fits = [
        cases.filter(accession_number__istartswith=told)
        .exclude(accession_number="")
        .order_by(*newest)
    ]
    if actor.can(Capability.VIEW_IDENTITY):
        patients = Patient.objects.filter(site_id=actor.own_site)
        by_id = patients.filter(~Q(patient_id=""), patient_id__istartswith=told)
        fits.append(cases.filter(patient__in=by_id.values("pk")).order_by(*newest))
        if words := _words(told):
            named = patients.filter(_WordsBegin("name", words))
            fits.append(cases.filter(patient__in=named.values("pk")).order_by(*newest))
    found: dict[UUID, None] = {}
    # One after the other: each goes by an index of its own, which an OR of the three would not.
    for fitting in fits:
        found.update(dict.fromkeys(fitting.values_list("pk", flat=True)[: MAX_FOUND + 1]))
    return list(found)[: MAX_FOUND + 1]


def _words(text: str) -> str:
    """The words of ``text`` as a query for names; "" where it has none."""
    return " & ".join(f"'{word}':*" for word in _WORD.findall(text)[:8])
