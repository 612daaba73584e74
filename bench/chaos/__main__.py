"""`python -m bench.chaos [--seed N] [--jobs N] …`: break everything, and check that nothing broke.

Exit code 0 when every invariant held, 1 when one did not or the service did not come up, 2 for
bad usage.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bcweb.embedded import linux
from bcweb.embedded.errors import StartupError
from bench.chaos import report
from bench.chaos.faults import FAULTS
from bench.chaos.night import spend
from bench.chaos.plan import make_plan
from bench.chaos.rig import NoStartError, Rig


def main() -> int:
    options = arguments()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    kinds = options.faults or list(FAULTS)
    plan = make_plan(seed, options.jobs, kinds)
    again = replay(seed, options)
    say(
        f"seed {seed}: {len(plan.sendings)} submissions, {plan.jobs} jobs, {len(plan.faults)} "
        f"faults; the same again: {again}"
    )
    if options.plan:
        for fault in plan.faults:
            say(f"  at submission {fault.at:5d}  {fault.kind}")
        return 0
    # What an earlier run told is not about this one, should it end without a word.
    options.out.unlink(missing_ok=True)
    # What a killed supervisor leaves becomes this process' own, and can be collected.
    linux.adopt_orphans()
    state = Path(tempfile.mkdtemp(prefix="bcweb-chaos-"))
    rig = Rig(state, pace=options.pace, patience=options.patience, real_model=options.real_model)
    story = None
    # Whatever ends the driver ends the service first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        rig.start()
        story = spend(rig, plan, say)
    except (NoStartError, StartupError) as error:
        say(f"the service did not come up: {error}")
    except KeyboardInterrupt:
        say("stopped")
    finally:
        rig.stop()
        if story is not None and not story.broken and not options.keep:
            shutil.rmtree(state, ignore_errors=True)
        else:
            say(f"state and logs are in {state}")
    if story is None:
        say(f"chaos: seed {seed} was not run to its end")
        return 1
    settings = {
        "jobs_wanted": options.jobs,
        "kinds_wanted": kinds,
        "pace": options.pace,
        "patience": options.patience,
        "real_model": options.real_model,
        "again": again,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report.as_json(story, settings), indent=2) + "\n")
    for line in report.lines(story):
        say(line)
    return 1 if story.broken else 0


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of an earlier run; default: a new one")
    parser.add_argument("--jobs", type=_positive, default=300, help="to be submitted (300)")
    parser.add_argument(
        "--faults", type=_kind, action="append", metavar="KIND", help="only these (repeatable)"
    )
    parser.add_argument(
        "--pace",
        type=float,
        default=os.environ.get("BCWEB_CHAOS_PACE", "1"),
        help="stretch all times, for a busy machine (BCWEB_CHAOS_PACE, 1)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=1.0,
        help="stretch only the bounds it is judged by, where other work goes on beside it (1)",
    )
    parser.add_argument("--real-model", action="store_true", help="answer with the real model")
    parser.add_argument("--out", type=Path, default=Path("var/chaos.json"), metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="keep the state folder in any case")
    parser.add_argument("--plan", action="store_true", help="print the schedule and end")
    options = parser.parse_args(given)
    for name in ("pace", "patience"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is 1 or more")
    return options


def replay(seed: int, options: argparse.Namespace) -> str:
    """The command that makes the same night again."""
    more = [f'--faults "{kind}"' for kind in options.faults or ()]
    more += [f"--pace {options.pace:g}"] if options.pace != 1 else []
    more += [f"--patience {options.patience:g}"] if options.patience != 1 else []
    more += ["--real-model"] if options.real_model else []
    arguments = f" ARGS='{' '.join(more)}'" if more else ""
    return f"make chaos SEED={seed} JOBS={options.jobs}{arguments}"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _kind(text: str) -> str:
    if text not in FAULTS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of: {', '.join(FAULTS)}")
    return text


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
