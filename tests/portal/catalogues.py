"""Reading catalogues of translations, and what sources ask them for, without gettext's tools."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation.template import templatize

from cases.errors import ERRORS

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ENTRY = re.compile(
    r'^(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) ((?:"(?:[^"\\]|\\.)*"\s*)+)', re.M
)
_ESCAPES = {"n": "\n", "t": "\t"}
_ERRORS = {error.__name__ for error in ERRORS.values()}
_CALLS = {"gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy", "_"}


@dataclass(frozen=True)
class Entry:
    msgid: str
    plural: str | None
    translations: tuple[str, ...]
    is_fuzzy: bool
    # What tells it from other entries of the same words; "" where there is nothing to tell.
    context: str = ""


def _words(quoted: str) -> str:
    def plain(escape: re.Match[str]) -> str:
        return _ESCAPES.get(escape.group(1), escape.group(1))

    return "".join(re.sub(r"\\(.)", plain, piece) for piece in _QUOTED.findall(quoted))


def entries(po: Path) -> list[Entry]:
    """The living entries of a .po file, without its head."""
    found = []
    for block in po.read_text(encoding="utf-8").split("\n\n"):
        if "#~" in block:
            continue
        lines = _ENTRY.findall(block)
        named = {key: _words(value) for key, value in lines}
        if not named.get("msgid"):
            continue
        told = tuple(value for key, value in named.items() if key.startswith("msgstr"))
        flags = [line for line in block.splitlines() if line.startswith("#,")]
        fuzzy = any("fuzzy" in line for line in flags)
        plural, context = named.get("msgid_plural"), named.get("msgctxt", "")
        found.append(Entry(named["msgid"], plural, told, fuzzy, context))
    return found


def asked_by_python(source: str) -> Iterator[str]:
    """The words that a module asks a catalogue for."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        first = node.args[0] if node.args else None
        asks = node.func.id in _CALLS and isinstance(first, ast.Constant)
        if asks and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def asked_by_template(source: str) -> Iterator[str]:
    """The words that a template asks for: Django makes a script of it for gettext's tools."""
    for match in re.finditer(
        r"(?<![A-Za-z])(?:n?gettext|_)\(\s*u?('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")",
        templatize(source),
    ):
        yield ast.literal_eval(match.group(1))


def asked_by_script(source: str) -> Iterator[str]:
    for match in re.finditer(r'\bn?gettext\(\s*("(?:[^"\\]|\\.)*")', source):
        yield ast.literal_eval(match.group(1))


def refusals(source: str) -> Iterator[str]:
    """The sentences of the errors that a module raises, values as "7"."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id not in _ERRORS:
            continue
        for part in (*node.args, *(word.value for word in node.keywords if word.arg == "errors")):
            yield from (words for words in _sentences(part) if " " in words)


def _sentences(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        pieces = (p.value if isinstance(p, ast.Constant) else "7" for p in node.values)
        yield "".join(str(piece) for piece in pieces)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _sentences(value)
    elif isinstance(node, ast.List | ast.IfExp):
        for child in ast.iter_child_nodes(node):
            yield from _sentences(child)
