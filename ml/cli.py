"""What the command lines of this package share: exit codes and one-line errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

from ml.errors import (
    DatasetError,
    GatePlanError,
    ImageUnreadableError,
    MlError,
    ModelFileError,
)


class UsageError(MlError):
    """Arguments that argparse lets through and that make no sense together."""


_INPUT_ERRORS = (DatasetError, GatePlanError, ImageUnreadableError, ModelFileError, UsageError)
# A given path that is something else than wanted, or is not ours; a full disk is neither.
_PATH_ERRORS = (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_LEAST: Final = {
    "batch_size": 1,
    "bootstraps": 1,
    "each": 1,
    "epochs": 1,
    "folds": 1,
    "limit_images": 1,
    "seed": 0,
    "threads": 1,
    "workers": 0,
}


def check_counts(arguments: argparse.Namespace) -> None:
    """Raise ``UsageError`` for numbers among the arguments that cannot be.

    Counts below their least value, an input side that is no multiple of 32, a prevalence that is
    no share. Arguments that a command does not have, or that are None, are left alone.
    """
    for name, least in _LEAST.items():
        value = getattr(arguments, name, None)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}")
    size = getattr(arguments, "size", None)
    if size is not None and (size < 32 or size % 32):
        raise UsageError("--size must be a multiple of 32")
    prevalence = getattr(arguments, "prevalence", None)
    if prevalence is not None and not 0 < prevalence < 1:
        raise UsageError("--prevalence is a share between 0 and 1")


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
        return 2 if isinstance(error, _PATH_ERRORS) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
