"""What given servers are there to prove: the service's own role cannot touch the audit trail."""

from __future__ import annotations

import psycopg
import pytest

from tests import given
from tests.flows.test_main_job import finished, submit
from tests.live import LiveService

pytestmark = [
    pytest.mark.flow,
    pytest.mark.skipif(not given.is_given(), reason="make test-services"),
]


def test_the_services_role_adds_to_the_audit_trail_and_cannot_change_it(
    live_service: LiveService,
) -> None:
    finished(live_service, submit(live_service))
    with psycopg.connect(live_service.told["DATABASE_URL"], autocommit=True) as service:
        found = service.execute(
            "SELECT count(*), pg_get_userbyid((SELECT relowner FROM pg_class WHERE oid = "
            "'cases_auditevent'::regclass)) <> current_user FROM cases_auditevent"
        ).fetchone()
        assert found is not None
        events, owned_by_another = found
        assert events > 0
        assert owned_by_another
        for forbidden in (
            "UPDATE cases_auditevent SET action = action",
            "DELETE FROM cases_auditevent",
            "TRUNCATE cases_auditevent",
            "UPDATE cases_auditseal SET number = number",
            "ALTER TABLE cases_auditevent DISABLE TRIGGER ALL",
            "DROP TRIGGER append_only ON cases_auditevent",
            "SET session_replication_role = replica",
            "CREATE TABLE mine (id int)",
        ):
            # By rights, before any trigger is asked.
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"permission|owner"):
                service.execute(forbidden)


def test_the_audit_trail_of_the_given_database_verifies(live_service: LiveService) -> None:
    finished(live_service, submit(live_service))
    live_service.manage("seal_audit")
    assert live_service.manage("verify_audit").startswith("whole: ")
