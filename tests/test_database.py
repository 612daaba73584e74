"""A kept connection is looked at before a request; only a doubtful one is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from bcweb.database.base import DatabaseWrapper

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept() -> Iterator[Any]:
    """A connection that has served a request and waits for the next one."""
    wrapper: Any = connections.create_connection("default")
    assert isinstance(wrapper, DatabaseWrapper)
    wrapper.health_check_enabled = True
    wrapper.inc_thread_sharing()
    ask(wrapper)
    wrapper.close_if_unusable_or_obsolete()
    yield wrapper
    wrapper.close()


def ask(wrapper: Any) -> int:
    """The server process that answers."""
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def asked_last(pid: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid])
        return str(cursor.fetchone()[0])


def end(pid: int) -> None:
    with connection.cursor() as cursor:
        # Returns once the process is gone.
        cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])
        assert cursor.fetchone() == (True,)


def test_a_sound_connection_is_asked_nothing(kept: Any) -> None:
    pid = kept.connection.info.backend_pid
    kept.ensure_connection()
    kept.close_if_health_check_failed()
    assert kept.health_check_done
    assert asked_last(pid) == "SELECT pg_backend_pid()"
    assert ask(kept) == pid


def test_one_that_the_server_has_closed_is_made_anew(kept: Any) -> None:
    pid = kept.connection.info.backend_pid
    end(pid)
    assert ask(kept) != pid


def test_one_that_is_in_use_is_not_made_anew_behind_ones_back(kept: Any) -> None:
    pid = ask(kept)  # looked at before this: the request is under way
    end(pid)
    with pytest.raises(OperationalError):
        ask(kept)
    # The next request looks again.
    kept.close_if_unusable_or_obsolete()
    assert ask(kept) != pid


def test_after_an_error_it_is_asked(kept: Any) -> None:
    pid = kept.connection.info.backend_pid
    kept.errors_occurred = True
    kept.close_if_unusable_or_obsolete()
    assert asked_last(pid) == "SELECT 1"
    assert not kept.errors_occurred


def test_what_has_come_unasked_does_not_cost_the_connection(kept: Any) -> None:
    pid = kept.connection.info.backend_pid
    with kept.cursor() as cursor:
        cursor.execute("LISTEN told")
    kept.close_if_unusable_or_obsolete()
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY told")
    assert ask(kept) == pid


def test_one_that_is_closed_already_is_made_anew(kept: Any) -> None:
    pid = kept.connection.info.backend_pid
    kept.connection.close()
    assert ask(kept) != pid
