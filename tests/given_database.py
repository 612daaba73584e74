"""The database of tests on given services (tests/given.py): one role migrates, another is theirs.

Taken by tests/conftest.py in place of pytest-django's own, which would own what it makes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import dj_database_url
import pytest
from django.core.management import call_command
from django.db import connection

from cases.services.table_rights import append_only_rights_withdraw
from tests import given


def _work_as(url: str) -> None:
    """From here on this process, and those it starts, connect so."""
    connection.close()
    told = dj_database_url.parse(url)
    connection.settings_dict.update(
        {part: told[part] for part in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    )
    os.environ["DATABASE_URL"] = url


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: object) -> Iterator[None]:
    with given.database("bcweb_test") as made:
        with django_db_blocker.unblock():  # type: ignore[attr-defined]
            _work_as(made.owner_url)
            call_command("migrate", interactive=False, verbosity=0)
            assert "cases_auditevent" in append_only_rights_withdraw()
            _work_as(made.app_url)
        os.environ[given.ADMIN] = made.admin_url
        yield
        with django_db_blocker.unblock():  # type: ignore[attr-defined]
            connection.close()
