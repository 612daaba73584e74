"""A training worker in a process of its own, to be killed: trains what waits, with tiny nets.

python -m tests.worker.training_process STATE
"""

from __future__ import annotations

import os
import sys


def database_url() -> str:
    """That of the test's own database, for a process that a test starts."""
    from django.db import connection

    name = connection.get_connection_params()["dbname"]
    base, _, query = os.environ["DATABASE_URL"].partition("?")
    return f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def main() -> None:
    import django

    django.setup()
    from django.conf import settings

    settings.STATE_DIR = sys.argv[1]
    from worker import training

    training.CHILD_MODULE = "tests.worker.narrow_training"
    training.TrainingRunner(name="training@killed").drain()


if __name__ == "__main__":
    main()
