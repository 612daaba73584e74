"""Fixtures of the whole suite. Services: tests/plugin.py; things to start from: factories.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from django.db import connections, transaction
from django.test import TransactionTestCase

from tests import given
from tests.live import LiveService, free_port, start_given_service, start_live_service
from tests.tests_only_model import write_tests_only_model

if given.is_given():
    # In pytest-django's place: a database with the roles of production.
    from tests.given_database import django_db_setup  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent


# Empties what a transactional test left. Few tables hold rows then, and few rows: deleting those is
# many times faster than Django's TRUNCATE of all tables, which makes each table's files anew, and
# its signal after that, which makes all permissions anew. Neither the rows that Django made with
# the tables nor the list of migrations are touched. Append-only tables refuse it unless their
# owner switches the triggers off for it, here and nowhere else.
_EMPTY = """
DO $$
DECLARE
    name regclass;
    filled boolean;
    watched record;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT IN
            ('django_migrations', 'django_content_type', 'auth_permission')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', name) INTO filled;
        CONTINUE WHEN NOT filled;
        FOR watched IN
            SELECT tgname FROM pg_trigger
            WHERE tgrelid = name AND NOT tgisinternal AND tgenabled = 'A'
        LOOP
            EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', name, watched.tgname);
        END LOOP;
        EXECUTE format('DELETE FROM %s', name);
        FOR watched IN
            SELECT tgname FROM pg_trigger
            WHERE tgrelid = name AND NOT tgisinternal AND tgenabled = 'D'
        LOOP
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', name, watched.tgname);
        END LOOP;
    END LOOP;
END
$$
"""


@pytest.fixture(scope="session", autouse=True)
def transactional_tests_leave_nothing() -> Iterator[None]:
    original = TransactionTestCase._fixture_teardown

    def empty(self: TransactionTestCase) -> None:
        if given.is_given():
            # The tests' own role may not.
            with psycopg.connect(os.environ[given.ADMIN]) as owner:
                owner.execute(_EMPTY)
            return
        connection = connections["default"]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_EMPTY)

    TransactionTestCase._fixture_teardown = empty  # type: ignore[method-assign]
    yield
    TransactionTestCase._fixture_teardown = original  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def settings_for_tests(settings: object) -> None:
    """Tests do not collect static files first, and their passwords need no slow hash.

    No role asks for a second factor, but in the tests of that.
    """
    accounts = settings.BCWEB_ACCOUNTS  # type: ignore[attr-defined]
    settings.BCWEB_ACCOUNTS = replace(accounts, second_factor_roles=())  # type: ignore[attr-defined]
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
        "BCWEB_WEBHOOK_SECONDS": "5",
    }
    start = start_given_service if given.is_given() else start_live_service
    with start(state, **told) as service:
        service.hook_port = hook_port
        yield service
