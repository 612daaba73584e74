"""`make test-services`: the flows against a given PostgreSQL and Redis, with production's roles.

`python -m tests.services [pytest's options and files]`
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg
import redis

from tests import given

ROOT = Path(__file__).resolve().parent.parent
# The chaos of make chaos kills servers of its own, which given ones are not.
FLOWS = [
    *("tests/flows/test_main_job.py", "tests/flows/test_restore.py"),
    *("tests/flows/test_worker_faults.py", "tests/flows/test_web_faults.py"),
    *("tests/flows/test_promotion_in_flight.py", "tests/flows/test_no_answer.py"),
    *("tests/flows/test_webhooks.py", "tests/flows/test_gate.py"),
    "tests/flows/test_given_services.py",
]
HELP = f"""\
The flows run against servers that you give. Debian's, as an ordinary user:

  sudo apt-get install postgresql-15 redis-server
  mkdir -p /tmp/given && cd /tmp/given
  PATH=$PATH:/usr/lib/postgresql/15/bin
  initdb -D pg -U postgres -A trust -E UTF8 --locale=C.UTF-8
  pg_ctl -D pg -w -l pg.log start \\
      -o '-p 54315 -k /tmp/given -c listen_addresses=127.0.0.1 -c max_connections=200'
  redis-server --port 63797 --bind 127.0.0.1 --save '' --dir /tmp/given --daemonize yes

  {given.DATABASE}=postgresql://postgres@127.0.0.1:54315/postgres \\
  {given.REDIS}=redis://127.0.0.1:63797/0 make test-services

The first is of an administrator of the database: databases and roles named bcweb_… are made for the
tests and removed again. Redis must be there for them alone: what is in it is removed. Stop both:

  pg_ctl -D /tmp/given/pg stop
  redis-cli -p 63797 shutdown nosave

ARGS="tests/flows/test_main_job.py -k killed" runs a part (pytest's options and files)."""


def main(arguments: list[str]) -> int:
    """Say what is missing (2), or become pytest."""
    missing = [name for name in (given.DATABASE, given.REDIS) if not os.environ.get(name)]
    if missing:
        print(f"Not set: {', '.join(missing)}.\n\n{HELP}", file=sys.stderr)
        return 2
    fault = _fault()
    if fault:
        print(fault, file=sys.stderr)
        return 2
    os.environ["DATABASE_URL"] = os.environ[given.DATABASE]
    os.environ["REDIS_URL"] = os.environ[given.REDIS]
    named = [word for word in arguments if word.startswith("tests/")]
    command = [sys.executable, "-m", "pytest", "-n0", *arguments, *([] if named else FLOWS)]
    os.chdir(ROOT)
    # In this process's place: signals reach it, and its exit code is make's.
    return os.execv(sys.executable, command)


def _fault() -> str | None:
    """Ask both servers what they are; say it."""
    try:
        with psycopg.connect(os.environ[given.DATABASE], connect_timeout=5) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), rolsuper FROM pg_roles "
                "WHERE rolname = current_user"
            ).fetchone()
        told = redis.Redis.from_url(os.environ[given.REDIS], socket_connect_timeout=5).info()
    except (psycopg.Error, redis.RedisError, ValueError) as error:
        return f"{given.DATABASE} or {given.REDIS} cannot be used: {error}"
    assert row is not None
    version, is_administrator = row
    if int(version.split(".")[0]) < 15:
        return f"{given.DATABASE}: PostgreSQL {version}, and bcweb needs 15 or later"
    if not is_administrator:
        return f"{given.DATABASE}: must be a superuser, to empty append-only tables after tests"
    print(f"PostgreSQL {version}, Redis {told['redis_version']}", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
