#!/usr/bin/env python3
"""Django's commands, with the embedded Postgres and Valkey at hand when no URL names others."""

import os
import sys
import warnings


def main() -> int:
    """Run one command; return its exit code. What is missing is said in one line on stderr."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts it may have an older one
        return fail(1, f"bcweb needs Python 3.11 or later; this is {sys.version.split()[0]}.")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import OperationalError

        from bcweb.embedded.command import services_for
        from bcweb.embedded.errors import StartupError
    except ModuleNotFoundError as error:
        return fail(
            1,
            f"The package {error.name} is not installed in {sys.executable}: run `make run` once, "
            "then use .venv/bin/python manage.py.",
        )
    if sys.argv[1:2] == ["restore"]:
        # Before any settings: those would make keys, perhaps in the very folder to restore into.
        from bcweb.backup.restore import main as restore

        return restore(sys.argv[2:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcweb.settings")
    # Said by makemigrations --check and --dry-run, for which no server is started.
    warnings.filterwarnings("ignore", message="Got an error checking a consistent migration")
    try:
        with services_for(sys.argv[1:]):
            execute_from_command_line(sys.argv)
    except StartupError as fault:
        return fail(1, str(fault))
    except ImproperlyConfigured as error:
        return fail(2, str(error))
    except OperationalError as error:
        if "connection" not in str(error):
            raise
        return fail(1, f"The database cannot be reached: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        return 130
    return 0


def fail(code: int, sentence: str) -> int:
    """Say why there is no result, on stderr; return the exit code."""
    print(sentence, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
