"""The training process: checks the snapshot's files, is `python -m ml.train`, fits the refusal.

Started by `worker.training` as `python -m worker.training_child OPTIONS ARGUMENTS…`. Imports torch,
not Django. It yields to everything else on the machine, tells its progress as JSON lines on
stdout, and dies with its worker.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from bcweb.embedded.linux import die_with_parent


def main() -> int:
    options = json.loads(sys.argv[1])
    die_with_parent(options["parent"])
    # Never above what the worker itself was given.
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(own, options["nice"]))
    from ml.cli import run_cli

    return run_cli(partial(_run, options, sys.argv[2:]))


def _run(options: dict[str, Any], arguments: list[str]) -> int:
    _prepare(options)
    from ml import train

    code = train.main(arguments)
    if code == 0:
        _add_refusal_check(options)
    return code


def _prepare(options: dict[str, Any]) -> None:
    """Verify and lay out the data; an error is told as an event and raised on."""
    from ml.config import RECIPES
    from ml.progress import open_events
    from worker.training_data import check_cases, check_files, lay_out, read_document

    root = Path(options["root"])
    with open_events("-") as events, events.ending():
        document = read_document(Path(options["document"]))
        check_cases(document, folds=RECIPES[options["recipe"]].folds)
        count = check_files(document, root)
        digest = lay_out(document, root, Path(options["data"]))
        events.send("verified", files=count, data=digest)


def _add_refusal_check(options: dict[str, Any]) -> None:
    from ml.progress import open_events
    from worker.training_refusal import add_refusal_check

    with open_events("-") as events, events.ending():
        add_refusal_check(
            Path(options["weights"]),
            Path(options["data"]),
            limit=options["limit_images"],
            seed=options["seed"],
        )


if __name__ == "__main__":
    sys.exit(main())
