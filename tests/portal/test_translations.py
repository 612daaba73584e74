"""That every word can be translated and the second language has them all."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

import pytest
from django.utils.translation import gettext as gettext_now
from django.utils.translation import override

from bcweb.language import ENGLISH, LANGUAGES
from cases.errors import ERRORS
from cases.told import pattern_of, told
from cases.told_sentences import SENTENCES
from tests.portal.bare_text import bare_texts
from tests.portal.catalogues import (
    Entry,
    asked_by_python,
    asked_by_script,
    asked_by_template,
    entries,
    refusals,
)

ROOT = Path(__file__).resolve().parent.parent.parent
LOCALE = ROOT / "locale"
TEMPLATES = ROOT / "templates"
# Services whose refusals the translated pages show.
TOLD = ("bulk", "corrections", "erasure", "fields", "filing", "findings", "identity",
        "openings", "outcomes", "persons", "places", "reader_first", "reading_fields", "readings",
        "replays", "saved_views", "sessions", "sign_in_links", "submission", "uploads",
        "withdrawals")  # fmt: skip
# Attributes that an including template completes.
PIECES = {"forms/described.html"}
OTHERS = [code for code, _ in LANGUAGES if code != ENGLISH]
DOMAINS = ("django", "djangojs")
CATALOGUES = [(code, domain) for code in OTHERS for domain in DOMAINS]
_PLACES = re.compile(r"%\(\w+\)[sd]|%[sd]|(?<!{){\w+}|<[^>]+>")


def catalogue(code: str, domain: str) -> list[Entry]:
    return entries(LOCALE / code / "LC_MESSAGES" / f"{domain}.po")


def templates() -> list[Path]:
    return [*TEMPLATES.rglob("*.html"), *TEMPLATES.rglob("*.txt")]


def asked() -> dict[str, set[str]]:
    """By domain: what the sources ask for."""
    words: dict[str, set[str]] = {domain: set() for domain in DOMAINS}
    for folder in ("cases", "bcweb"):
        for path in (ROOT / folder).rglob("*.py"):
            words["django"].update(asked_by_python(path.read_text(encoding="utf-8")))
    for path in templates():
        words["django"].update(asked_by_template(path.read_text(encoding="utf-8")))
    for path in (ROOT / "bcweb" / "static" / "js").glob("*.js"):
        words["djangojs"].update(asked_by_script(path.read_text(encoding="utf-8")))
    return words


@pytest.mark.parametrize(("code", "domain"), CATALOGUES)
def test_every_word_of_the_sources_is_in_the_catalogue(code: str, domain: str) -> None:
    known = {entry.msgid for entry in catalogue(code, domain)}
    missing = asked()[domain] - known - {""}
    assert not missing, f"run makemessages and translate: {sorted(missing)[:10]}"


@pytest.mark.parametrize(("code", "domain"), CATALOGUES)
def test_every_entry_is_translated_and_none_is_a_guess(code: str, domain: str) -> None:
    found = catalogue(code, domain)
    assert found
    wanting = [e.msgid for e in found if e.is_fuzzy or not e.translations or "" in e.translations]
    assert not wanting


@pytest.mark.parametrize(("code", "domain"), CATALOGUES)
def test_translations_keep_the_places_of_values_and_the_markup(code: str, domain: str) -> None:
    for entry in catalogue(code, domain):
        allowed = [sorted(_PLACES.findall(entry.msgid))]
        if entry.plural is not None:
            allowed.append(sorted(_PLACES.findall(entry.plural)))
        for words in entry.translations:
            assert sorted(_PLACES.findall(words)) in allowed, entry.msgid


@pytest.mark.parametrize(("code", "domain"), CATALOGUES)
def test_the_compiled_catalogue_is_that_of_its_source(code: str, domain: str) -> None:
    path = LOCALE / code / "LC_MESSAGES" / f"{domain}.mo"
    with path.open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for entry in catalogue(code, domain):
        for number, words in enumerate(entry.translations):
            assert _compiled(compiled, entry, number) == words, "run compilemessages"


def _compiled(catalogue: gettext.GNUTranslations, entry: Entry, number: int) -> str:
    if entry.context:
        assert entry.plural is None
        return catalogue.pgettext(entry.context, entry.msgid)
    if entry.plural is None:
        return catalogue.gettext(entry.msgid)
    return catalogue.ngettext(entry.msgid, entry.plural, 1 if number == 0 else 2)


def test_no_template_has_text_that_cannot_be_translated() -> None:
    bare = {
        name: found
        for path in templates()
        if (name := str(path.relative_to(TEMPLATES))) not in PIECES
        and (found := list(bare_texts(path.read_text(encoding="utf-8"))))
    }
    assert bare == {}


@pytest.mark.parametrize(
    "source",
    [
        "<p>Some words</p>",
        "<p>{{ number }} images</p>",
        '<a aria-label="Some words"></a>',
        '<img alt="Picture {{ number }}">',
        '{% include "x.html" with title="Some words" %}',
        '{{ name|default:"No name" }}',
        "{% if a %}Some words{% endif %}",
    ],
)
def test_the_search_for_bare_text_finds(source: str) -> None:
    assert list(bare_texts(source))


@pytest.mark.parametrize(
    "source",
    [
        '<p>{% translate "Some words" %}</p>',
        "<p>{% blocktranslate %}Some {{ words }}{% endblocktranslate %}</p>",
        '<a aria-label="{% translate "Some words" %}"></a>',
        '{% include "x.html" with title=_("Some words") %}',
        "{% block main_class %}narrow{% endblock %}",
        "<p>12 mm · bcweb &amp;</p>",
        "<script>some words</script>",
    ],
)
def test_the_search_for_bare_text_passes_over(source: str) -> None:
    assert not list(bare_texts(source))


@pytest.mark.parametrize("sentence", [s for s in SENTENCES if "{" in s])
def test_a_sentence_with_values_is_told_as_itself(sentence: str) -> None:
    filled = re.sub(r"{\w+}", "7", sentence)
    with override("de"):
        assert told(filled) == re.sub(r"{\w+}", "7", gettext_now(sentence))
    assert told(filled) == filled


def test_a_list_of_fields_within_a_sentence_is_told_too() -> None:
    english = (
        "The DICOM header disagrees with what was entered: patient id, date of birth. Check that "
        "the file belongs to this patient."
    )
    with override("de"):
        assert "Patienten-ID, Geburtsdatum" in told(english)


def test_a_state_within_a_sentence_is_told_too() -> None:
    with override("de"):
        assert "(gescheitert)" in told(
            "The job has already ended (failed) and cannot be cancelled."
        )


def test_every_error_of_the_contract_can_be_told() -> None:
    known = set(SENTENCES)
    for error in ERRORS.values():
        assert {error.title, error.default_detail} <= known, error.code


@pytest.mark.parametrize("module", TOLD)
def test_every_refusal_of_a_service_can_be_told(module: str) -> None:
    source = (ROOT / "cases" / "services" / f"{module}.py").read_text(encoding="utf-8")
    known = set(SENTENCES)
    patterns = [pattern_of(sentence) for sentence in SENTENCES if "{" in sentence]
    for sentence in refusals(source):
        fits = sentence in known or any(pattern.fullmatch(sentence) for pattern in patterns)
        assert fits, f"cases.told_sentences lacks: {sentence}"
