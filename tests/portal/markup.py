"""Reading rendered pages: what a strict Content-Security-Policy and WCAG would refuse."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from typing import Any

_VOID = {"input", "img", "meta", "link", "br", "hr", "rect", "line", "path", "circle"}
_INLINE = {"a", "b", "code", "em", "strong"}
_LABELLED = {"input", "select", "textarea"}
_SPACE = re.compile(r"\s+")


def _joined(pieces: list[str]) -> str:
    return _SPACE.sub(" ", "".join(pieces))


@dataclass
class Tag:
    name: str
    attrs: dict[str, str]
    pieces: list[str] = field(default_factory=list)

    @cached_property
    def text(self) -> str:
        return _joined(self.pieces)


@dataclass
class Markup:
    """The tags of a page in order, and its visible text."""

    tags: list[Tag] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @cached_property
    def text(self) -> str:
        return _joined(self.pieces)

    def all(self, name: str, **attrs: str) -> list[Tag]:
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attrs.items()}
        return [
            tag
            for tag in self.tags
            if tag.name == name and all(tag.attrs.get(k) == v for k, v in wanted.items())
        ]

    def one(self, name: str, **attrs: str) -> Tag:
        found = self.all(name, **attrs)
        assert len(found) == 1, f"{len(found)} of <{name} {attrs}>"
        return found[0]

    def values(self) -> dict[str, str]:
        """What the fields of the page hold: text inputs, chosen radios and options."""
        held: dict[str, str] = {}
        select = ""
        for tag in self.tags:
            kind = tag.attrs.get("type", "text")
            if tag.name == "input" and kind in ("radio", "checkbox"):
                if "checked" in tag.attrs:
                    held[tag.attrs["name"]] = tag.attrs.get("value", "on")
            elif tag.name == "input" and kind != "file" and "name" in tag.attrs:
                held[tag.attrs["name"]] = tag.attrs.get("value", "")
            elif tag.name == "select":
                # What a script alone reads has no name and is sent to nobody.
                select = tag.attrs.get("name", "")
            elif tag.name == "option" and "selected" in tag.attrs:
                held[select] = tag.attrs.get("value", "")
        return held


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Markup()
        self.stack: list[Tag] = []

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        tag = Tag(name, {key: value or "" for key, value in attrs})
        self.page.tags.append(tag)
        if name not in _INLINE:
            self.handle_data(" ")
        if name not in _VOID:
            self.stack.append(tag)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append(Tag(name, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, name: str) -> None:
        while self.stack and self.stack.pop().name != name:
            pass

    def handle_data(self, data: str) -> None:
        for tag in self.stack:
            tag.pieces.append(data)
        if not any(tag.name in ("script", "style", "title") for tag in self.stack):
            self.page.pieces.append(data)


def read(html: str | bytes) -> Markup:
    reader = _Reader()
    reader.feed(html.decode() if isinstance(html, bytes) else html)
    reader.close()
    return reader.page


def csp_faults(page: Markup) -> list[str]:
    """What `script-src 'self'; style-src 'self'` would refuse."""
    faults = []
    for tag in page.tags:
        if tag.name == "style" or (tag.name == "script" and "src" not in tag.attrs):
            faults.append(f"inline <{tag.name}>")
        for key, value in tag.attrs.items():
            if key == "style" or key.startswith(("on", "hx-on")):
                faults.append(f"{key} on <{tag.name}>")
            if key in ("href", "src", "action", "hx-get", "hx-post") and re.match(
                r"(javascript:|https?:|//)", value
            ):
                faults.append(f"{key}={value}")
    return faults


def structure_faults(page: Markup) -> list[str]:
    """Missing landmarks, headings, labels, alternative texts; ids given twice."""
    faults = [f"no <{name}>" for name in ("title", "main", "h1") if len(page.all(name)) != 1]
    if not page.all("html") or not page.one("html").attrs.get("lang"):
        faults.append("no language")
    ids = [tag.attrs["id"] for tag in page.tags if "id" in tag.attrs]
    faults += [f"id {name} twice" for name in sorted({i for i in ids if ids.count(i) > 1})]
    labels = {tag.attrs.get("for") for tag in page.all("label")}
    inside = _inputs_inside_labels(page)
    for tag in page.tags:
        if tag.name == "img" and "alt" not in tag.attrs:
            faults.append(f"no alt on {tag.attrs.get('src')}")
        if tag.name in _LABELLED and tag.attrs.get("type") not in ("hidden", "submit"):
            named = tag.attrs.get("id") in labels or "aria-label" in tag.attrs
            if not named and id(tag) not in inside:
                faults.append(f"no label for {tag.attrs.get('name')}")
        for name in tag.attrs.get("aria-describedby", "").split():
            if name not in ids:
                faults.append(f"aria-describedby names {name}, which is not there")
    return faults


def text_of(response: Any) -> str:
    """What a page says, without its frame."""
    return read(response.content).one("main").text


def _inputs_inside_labels(page: Markup) -> set[int]:
    # The reader lists tags in order: the input of a wrapping label follows it at once.
    return {
        id(after)
        for before, after in zip(page.tags, page.tags[1:], strict=False)
        if before.name == "label" and "for" not in before.attrs and after.name == "input"
    }
