"""Which migrations the code knows: a backup with others was made by a newer version."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from bcweb.embedded import paths

from .archive import BackupError


def check_known(migrations: Mapping[str, Sequence[str]]) -> None:
    """Raise ``BackupError`` where a migration was applied that the code here does not have."""
    unknown = [
        f"{app}.{name}"
        for app, names in sorted(migrations.items())
        for name in names
        if not _has(app, name)
    ]
    if unknown:
        raise BackupError(
            f"The backup was made by a newer version of bcweb (it has {unknown[-1]}): restore it "
            "with that version or a later one."
        )


def _has(app: str, name: str) -> bool:
    return any((folder / f"{name}.py").exists() for folder in _folders(app))


def _folders(app: str) -> list[Path]:
    """Where the migrations of an app are: ours, Django's, or a package's. Nothing is imported."""
    folders = [paths.BASE_DIR / app / "migrations"]
    for package, below in (("django", f"contrib/{app}"), ("allauth", app), (app, "")):
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is not None and spec.submodule_search_locations:
            folders += [Path(p) / below / "migrations" for p in spec.submodule_search_locations]
    return folders
