"""Where the pictures of a data folder are, and what its layout says about them: no decoding.

Layouts: one folder per class, or a CSV manifest; a folder may hold several such sets.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from ml.config import CLASSES
from ml.errors import DatasetError

MANIFEST = "manifest.csv"
ABOUT = "dataset.json"
_LICENCES = ("licence", "license", "copying")
MASK_SUFFIXES = (".jpg", ".jpeg", ".png")
_IGNORED = ("thumbs.db", "desktop.ini")
# Columns a manifest may have beside file and class, and the field each one fills.
_COLUMNS = {
    "patient_id": "patient_id",
    "source": "source",
    "device": "device",
    "birads": "birads",
    "histology": "histology",
    "side": "side",
    "laterality": "side",
}
Row = dict[str, str]
"""One picture: ``file`` (relative to the data folder, with slashes), ``label``, other columns."""


@dataclass(frozen=True)
class Part:
    """One set of pictures: its folder, manifest or None, and its name if something states it."""

    folder: Path
    manifest: Path | None
    name: str | None


@dataclass(frozen=True)
class Terms:
    """What a set's own files say of its origin and terms; empty where they say nothing."""

    licence: str = ""
    licence_sha256: str = ""
    citation: str = ""
    url: str = ""
    note: str = ""


def find_parts(path: Path) -> tuple[Path, list[Part], list[Path]]:
    """The root of a data folder or manifest, its sets, and the folders in it that are no set.

    Raises :class:`DatasetError` where there is nothing of that name.
    """
    if path.is_file() and path.suffix.lower() == ".csv":
        return path.parent, [_part(path.parent, path)], []
    if not path.is_dir():
        if path.exists():
            raise DatasetError(f"{path} is neither a folder nor a .csv manifest")
        raise DatasetError(f"there is no folder {path}")
    if _is_data_folder(path):
        return path, [_part(path)], []
    inner = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    parts = [_part(p) for p in inner if _is_data_folder(p)]
    others = [p for p in inner if not _is_data_folder(p)]
    return (path, parts, others) if parts else (path, [_part(path)], [])


def _part(folder: Path, manifest: Path | None = None) -> Part:
    default = folder / MANIFEST
    chosen = manifest or (default if default.is_file() else None)
    name = _about(folder).get("name")
    return Part(folder, chosen, name if isinstance(name, str) and name.strip() else None)


def _is_data_folder(folder: Path) -> bool:
    if (folder / MANIFEST).is_file():
        return True
    return any(p.is_dir() and p.name.lower() in CLASSES for p in folder.iterdir())


def part_rows(root: Path, part: Part) -> Iterator[Row]:
    """One row a picture, in the order of the set. Raises :class:`DatasetError` as told there.

    ``source`` is the manifest's, else the name in ``dataset.json``, else the folder's name for a
    set inside the data folder, else "": the data folder itself has no name but that of its place.
    """
    prefix = part.folder.relative_to(root)
    named = part.name or ("" if part.folder == root else part.folder.name)
    rows = manifest_rows(part.manifest) if part.manifest else _folder_rows(part.folder)
    for row in rows:
        name = (prefix / row["file"]).as_posix()
        yield {**row, "file": name, "source": row.get("source") or named}


def manifest_rows(manifest: Path) -> Iterator[Row]:
    """Rows of a CSV manifest: UTF-8, commas, a header with at least file and class.

    A row that repeats another is dropped. Raises :class:`DatasetError` for another encoding or
    separator, missing columns, an unknown class, a path out of the folder, a mask, and a file that
    stands there twice with different entries; each names the line.
    """
    seen: dict[str, tuple[int, Row]] = {}
    for line, cells in _table(manifest):
        row = _row(f"{manifest} line {line}", cells)
        before, first = seen.setdefault(row["file"], (line, row))
        if first != row:
            raise DatasetError(
                f"{manifest} line {line}: {printable(row['file'])} stands on line {before} already,"
                " with other entries"
            )
        if before == line:
            yield row


def _table(manifest: Path) -> Iterator[tuple[int, Row]]:
    """Line number and cells by column name (lower case) of each row with anything in it."""
    try:
        text = manifest.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"{manifest} is not UTF-8 text: save it as CSV in UTF-8") from None
    except OSError as error:
        raise DatasetError(f"{manifest} cannot be read ({error.strerror})") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if len(header) < 2 and re.search(r"[;\t]", "".join(header)):
            raise DatasetError(f"{manifest}: the columns must be separated by commas")
        if len(set(filter(None, header))) < len([h for h in header if h]):
            raise DatasetError(f"{manifest}: a column stands there twice")
        if not {"file", "class"} <= set(header):
            raise DatasetError(f"{manifest} line 1: the columns file and class are needed")
        for cells in reader:
            if len(cells) > len(header):
                raise DatasetError(f"{manifest} line {reader.line_num}: more cells than columns")
            if any(cell.strip() for cell in cells):
                yield reader.line_num, dict(zip(header, map(str.strip, cells), strict=False))
    except csv.Error as error:
        raise DatasetError(f"{manifest} line {reader.line_num}: {error}") from None


def _row(place: str, cells: Row) -> Row:
    # Manifests made on Windows have backslashes.
    name, label = cells.get("file", "").replace("\\", "/"), cells.get("class", "").lower()
    if not name or not label:
        raise DatasetError(f"{place}: the columns file and class are needed")
    if label not in CLASSES:
        raise DatasetError(f"{place}: unknown class {label!r}")
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or re.match(r"[A-Za-z]:", name):
        raise DatasetError(f"{place}: the file lies outside the data folder")
    if "\0" in name:
        raise DatasetError(f"{place}: the file's name cannot be one")
    if _is_mask(inside):
        raise DatasetError(f"{place}: {printable(name)} is a mask, not a picture")
    others = {field: cells[column] for column, field in _COLUMNS.items() if cells.get(column)}
    return {"file": inside.as_posix(), "label": label, **others}


def _is_mask(path: PurePath) -> bool:
    return "_mask" in path.stem.lower()


def _folder_rows(root: Path) -> Iterator[Row]:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    for folder in folders:
        label = folder.name.lower()
        if label not in CLASSES:
            raise DatasetError(f"unknown class folder {folder.name!r} in {root}")
        for path in sorted(folder.rglob("*")):
            hidden = path.name.startswith(".") or path.name.lower() in _IGNORED
            if path.is_file() and not hidden and not _is_mask(path):
                yield {"file": path.relative_to(root).as_posix(), "label": label}


def masks_by_stem(root: Path) -> dict[str, list[str]]:
    """Mask files by the name (without ending) of the picture they belong to.

    A mask is a picture with ``_mask`` in its name: what stands before is its picture's name.
    """
    masks: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.*")):
        at = path.stem.lower().rfind("_mask")
        if at >= 0 and path.suffix.lower() in MASK_SUFFIXES and path.is_file():
            name = path.relative_to(root).as_posix()
            masks.setdefault(name[: len(name) - len(path.name) + at], []).append(name)
    return masks


def refuse_links_out(root: Path, names: list[str]) -> None:
    """Raise :class:`DatasetError` where a name leads out of the folder by a symbolic link."""
    base = root.resolve()
    for name in names:
        if not (root / name).resolve().is_relative_to(base):
            raise DatasetError(f"{printable(name)} is a link that leads out of the data folder")


def read_terms(folder: Path) -> Terms:
    """Origin and terms of a set, from its ``dataset.json`` and ``LICENSE``-like files.

    The keys licence (or license), citation, url and note of the first; where it tells no licence,
    the first line of the second. ``licence_sha256`` is the hash of that whole file.
    """
    about = _about(folder)
    text = {k: v.strip() for k, v in about.items() if isinstance(v, str)}
    licence, digest = text.get("licence") or text.get("license", ""), ""
    for path in sorted(folder.iterdir()):
        if path.stem.lower() in _LICENCES and path.is_file():
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            lines = data[:10_000].decode("utf-8", "replace").splitlines()
            licence = licence or next((line.strip() for line in lines if line.strip()), "")[:300]
            break
    return Terms(
        licence, digest, text.get("citation", ""), text.get("url", ""), text.get("note", "")
    )


def _about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    if not path.is_file():
        return {}
    try:
        about = json.loads(path.read_bytes())
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error})") from None
    if not isinstance(about, dict):
        raise DatasetError(f"{path} is not a JSON object")
    return about


def printable(name: str) -> str:
    """A file's name on one line, whatever is in it."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return shown.encode("utf-8", "backslashreplace").decode()
