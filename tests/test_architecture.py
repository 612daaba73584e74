"""Who may import whom, read from the source: docs/architecture.md in executable form."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("bcweb", "cases", "ml", "worker")


def modules(*parts: str) -> Iterator[Path]:
    target = ROOT.joinpath(*parts)
    if target.is_file():
        yield target
        return
    for path in sorted(target.rglob("*.py")):
        if "migrations" not in path.parts:
            yield path


def name_of(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    return ".".join(part for part in relative.parts if part != "__init__")


def imports(path: Path, *, at_load: bool = False) -> set[str]:
    """Full names imported by a file; with `at_load` only what loading the module imports."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]

    def visit(node: ast.AST, *, in_function: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if at_load and isinstance(child, ast.If) and _type_checking(child.test):
                continue
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if not (at_load and in_function):
                found.update(_names(child, package))
            visit(child, in_function=inside)

    visit(tree, in_function=False)
    return found


def _type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _names(node: ast.AST, package: str) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, base]).rstrip(".")
        return {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return set()


def offenders(paths: Iterator[Path], *forbidden: str, at_load: bool = False) -> list[str]:
    found = []
    for path in paths:
        for name in imports(path, at_load=at_load):
            if any(name == bad or name.startswith(bad + ".") for bad in forbidden):
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    return sorted(found)


TORCH = ("torch", "torchvision", "onnxruntime")


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        (("ml",), ("django", "rest_framework", "celery", "cases", "worker", "bcweb")),
        (("cases",), (*TORCH, "ml", "worker")),
        (("bcweb",), (*TORCH, "ml", "worker")),
        (("cases", "states.py"), ("django", "cases.models", "cases.services")),
        (("cases", "errors.py"), ("django", "cases.models")),
        (("cases", "models"), ("cases.services", "cases.selectors", "cases.api", "cases.portal")),
        (("cases", "intake"), ("django.db", "cases.models", "cases.services", "cases.selectors")),
        (("cases", "selectors"), ("cases.services", "cases.api", "cases.portal")),
        (
            ("cases", "services"),
            ("cases.api", "cases.portal", "django.http", "rest_framework", "django.shortcuts"),
        ),
        (("cases", "reports"), ("cases.services", "cases.selectors", "cases.api", "cases.portal")),
        (("cases", "api"), ("cases.portal",)),
        (("cases", "portal"), ("cases.api",)),
    ],
)
def test_a_room_imports_only_what_it_may(room: tuple[str, ...], forbidden: tuple[str, ...]) -> None:
    assert offenders(modules(*room), *forbidden) == []


def test_the_worker_loads_no_torch_until_it_needs_it() -> None:
    child = ROOT / "worker" / "engine_child.py"
    others = (path for path in modules("worker") if path != child)
    assert offenders(others, *TORCH, "ml.inference", "ml.model", at_load=True) == []
    assert offenders(iter([child]), *TORCH, "django", at_load=True) == []


def test_importing_the_worker_tasks_loads_no_torch() -> None:
    code = (
        "import django, sys; django.setup(); import worker.tasks; "
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_worker_reaches_tables_only_through_services_and_selectors() -> None:
    assert offenders(modules("worker"), "cases.models", at_load=True) == []


def test_views_never_touch_a_model_manager() -> None:
    touching = [
        str(path.relative_to(ROOT))
        for room in ("api", "portal")
        for path in modules("cases", room)
        if re.search(r"\.objects\b|\.save\(|\.delete\(\)", path.read_text())
    ]
    assert touching == []


def test_services_never_see_a_request() -> None:
    seeing = [
        str(path.relative_to(ROOT))
        for path in modules("cases", "services")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.arg) and node.arg == "request"
    ]
    assert seeing == []


def test_only_the_queue_module_publishes() -> None:
    publishing = [
        name_of(path)
        for room in ROOMS
        for path in modules(room)
        if re.search(r"\.(send_task|apply_async|delay|delay_on_commit)\(", path.read_text())
    ]
    assert publishing == ["cases.queue"]


def test_every_published_task_is_registered() -> None:
    from bcweb.celery import app
    from cases import queue

    importlib.import_module("worker.tasks")
    names = {*queue.TASK_OF_KIND.values(), queue.SWEEP_TASK, queue.DELIVER_TASK}
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert (names | scheduled) <= set(app.tasks)


def test_only_one_function_changes_the_state_of_a_job() -> None:
    writing = []
    for path in modules("cases"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            calls = [c for c in ast.walk(node) if isinstance(c, ast.Call)]
            for call in calls:
                name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                named = [k.arg for k in call.keywords]
                # The UPDATE of a move of several jobs is compiled from a mapping.
                for mapping in [arg for arg in call.args if isinstance(arg, ast.Dict)]:
                    named += [getattr(key, "value", None) for key in mapping.keys]
                if name in ("update", "_update") and "state" in named:
                    writing.append(f"{name_of(path)}.{node.name}")
    assert sorted(set(writing)) == [
        "cases.services.candidate_moves.candidate_move",
        # Ended messages asked for once more, many in one statement.
        "cases.services.deliveries.deliveries_again",
        "cases.services.deliveries.delivery_move",
        "cases.services.model_moves.model_move",
        "cases.services.moves.jobs_move",
    ]


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for room in (*ROOMS, "tests")
        for path in modules(room)
    }
    # "About 400" for what serves; a test table may be a little longer.
    limits = {name: 450 if name.startswith("tests") else 400 for name in long}
    assert {name: n for name, n in long.items() if n > limits[name]} == {}
