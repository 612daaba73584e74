"""What another role than the owner may do with tables that are only added to."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection

from cases.services.table_rights import append_only_rights_withdraw

pytestmark = pytest.mark.django_db

ROLE = "bcweb test's app"


@pytest.fixture(autouse=True)
def application() -> None:
    """A role with the rights that deploy/postgres-roles.sh gives; gone with the test."""
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE ROLE "{ROLE}"')
        cursor.execute(
            f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{ROLE}"'
        )


def may(table: str, right: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege(%s, %s, %s)", [ROLE, table, right])
        return bool(cursor.fetchone()[0])


def test_audit_and_trails_can_be_read_and_added_to_and_nothing_else() -> None:
    changed = append_only_rights_withdraw()
    for table in ("cases_auditevent", "cases_auditseal", "cases_jobevent", "cases_modelevent"):
        assert changed[table] == [f'"{ROLE}"']
        assert may(table, "SELECT")
        assert may(table, "INSERT")
        for right in ("UPDATE", "DELETE", "TRUNCATE"):
            assert not may(table, right), (table, right)


def test_what_an_erasure_empties_and_what_lives_on_stay_changeable() -> None:
    changed = append_only_rights_withdraw()
    for table in ("cases_result", "cases_reading", "cases_job", "cases_patient"):
        assert table not in changed
        assert may(table, "UPDATE"), table
    # A request for promotion is decided, once; it is never removed.
    assert may("cases_promotionrequest", "UPDATE")
    assert not may("cases_promotionrequest", "DELETE")


def test_a_second_time_there_is_nothing_left_to_take() -> None:
    assert append_only_rights_withdraw()
    assert append_only_rights_withdraw() == {}


def test_a_role_that_owns_nothing_takes_nothing() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'SET LOCAL ROLE "{ROLE}"')
    assert append_only_rights_withdraw() == {}


def test_the_owner_keeps_all_its_rights() -> None:
    append_only_rights_withdraw()
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('cases_auditevent', 'TRUNCATE')")
        assert cursor.fetchone()[0]


def test_set_up_says_what_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("setup_service", "--no-static")
    said = capsys.readouterr().out
    assert f'cases_auditevent can no longer be changed by "{ROLE}"' in said
    assert said.rstrip().endswith("set up")
