"""`python -m bcweb.embedded`: run the whole service in the foreground."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from . import linux, paths, roster
from .errors import StartupError, disk_full, is_disk_full
from .supervisor import Supervisor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM; return 0 then, 1 when the service cannot start."""
    parser = argparse.ArgumentParser(prog="python -m bcweb.embedded", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=8000, help="port to listen on")
    parser.add_argument("--state", default=None, help="state folder (default: ./var)")
    options = parser.parse_args(arguments)
    if "BCWEB_UNDER_MAKE" in os.environ:
        # A make that is killed cannot pass that on: stop in order when it is gone.
        linux.die_with_parent(os.getppid(), signal.SIGTERM)
    try:
        state = paths.make_state_dir(options.state)
        supervisor = Supervisor(
            roster.plan(host=options.host, port=options.port),
            state=state,
            host=options.host,
            port=options.port,
            folder=paths.BASE_DIR,
        )
        return supervisor.run()
    except StartupError as error:
        sentence = str(error)
    except OSError as error:
        if not is_disk_full(error):
            raise
        sentence = str(disk_full(paths.state_dir(options.state)))
    print(f"bcweb: {sentence}", file=sys.stderr, flush=True)
    return 1


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to 65535)")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
