"""Fixtures of the whole suite. Services: tests/plugin.py; things to start from: factories.py."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations

from tests.live import LiveService, free_port, start_live_service
from tests.tests_only_model import write_tests_only_model

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def flush_may_empty_append_only_tables() -> Iterator[None]:
    """Between transactional tests Django truncates all tables, which the audit trigger refuses.

    Only the owner of the tables can switch it off, here for that one statement.
    """
    tables = (
        "cases_auditevent",
        "cases_auditseal",
        "cases_jobevent",
        "cases_modelevent",
        "cases_gateverdict",
        "cases_modelfault",
        "cases_servingevent",
        "cases_gateplan",
        "cases_lockedsetuse",
        "cases_scheduleedit",
        "cases_trainingorderer",
        "cases_snapshotpatient",
        "cases_reading",
        "cases_findingoutcome",
        "cases_resultwithdrawal",
        "cases_patientcorrection",
        "cases_patienterasure",
        "cases_patientpartition",
        "cases_frozenpicture",
        "cases_candidateevent",
    )
    original = DatabaseOperations.execute_sql_flush

    def execute_sql_flush(self: DatabaseOperations, sql_list: Sequence[str]) -> None:
        off = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in tables]
        # Their ordinary triggers too, such as those that tell the worklist.
        on = [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in tables]
        on += [
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
            for table in tables
            for name in ("append_only", "append_only_truncate")
        ]
        original(self, [*off, *sql_list, *on])

    DatabaseOperations.execute_sql_flush = execute_sql_flush  # type: ignore[method-assign]
    yield
    DatabaseOperations.execute_sql_flush = original  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def settings_for_tests(settings: object) -> None:
    """Tests do not collect static files first, and their passwords need no slow hash."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # type: ignore[attr-defined]
    storages = dict(settings.STORAGES)  # type: ignore[attr-defined]
    storages["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = storages  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images and DICOM files; skips where there is none."""
    folder = Path(os.environ.get("BCWEB_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("no shared data folder (set BCWEB_SHARED)")
    return folder


@pytest.fixture(scope="session")
def tests_only_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that gives phantoms a label, where the one that ships refuses them."""
    path = tmp_path_factory.mktemp("tests-only model") / "tests-only.safetensors"
    write_tests_only_model(path)
    return path


@pytest.fixture(scope="session")
def live_service(
    tmp_path_factory: pytest.TempPathFactory, tests_only_model: Path
) -> Iterator[LiveService]:
    """The whole service, started once by the supervisor as `make run` does: real processes."""
    state = tmp_path_factory.mktemp("live state")
    hook_port = free_port()
    # Webhooks may be called at one port of this machine, and are tried again soon.
    told = {
        "BCWEB_MODEL": str(tests_only_model),
        "BCWEB_WEBHOOK_ALLOW": "127.0.0.0/8",
        "BCWEB_WEBHOOK_HTTP": "1",
        "BCWEB_WEBHOOK_PORTS": str(hook_port),
        "BCWEB_WEBHOOK_SECONDS": "3",
    }
    with start_live_service(state, **told) as service:
        service.hook_port = hook_port
        yield service
