"""What the command lines of this package share: exit codes and one-line errors."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ml.errors import DatasetError, ImageUnreadableError, MlError, ModelFileError


class UsageError(MlError):
    """Arguments that argparse lets through and that make no sense together."""


_INPUT_ERRORS = (DatasetError, ImageUnreadableError, ModelFileError, UsageError)


def run_cli(main: Callable[[], int]) -> int:
    """Run a command: 0 done, 2 bad usage or input, 1 another named error; one line on stderr.

    Ctrl-C gives 130. What nobody expected keeps its traceback and ends with 1.
    """
    try:
        return main()
    except _INPUT_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or error}{name}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
