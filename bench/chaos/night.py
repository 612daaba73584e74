"""One run from start to end: clients send, faults strike, then all must come to rest by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from bcweb.embedded import linux
from bench.chaos.client import Books, Client
from bench.chaos.faults import FENCED_OUT, Impossible, Missed, Striker, Unanswered
from bench.chaos.invariants import INVARIANTS, Check, Night
from bench.chaos.plan import Fault, Plan, Sending, filler
from bench.chaos.rig import NoStartError, Rig, RigError

CLIENTS = 6
# So many submissions may go ahead of a fault that is not over: it strikes a service at work.
AHEAD = 6
TRICKLE_S = 0.4
# Of a client, and until all is at rest after the last fault. Generous: a machine may be slow, and
# what is stuck for good is seen all the same.
PATIENCE_S = 400.0
SETTLE_S = 300.0
READY_S = 120.0
# Commands that look for damage themselves.
VERIFIERS = ("verify_audit", "verify_storage")


@dataclass(frozen=True)
class Strike:
    """What became of one planned fault. `outcome`: struck, missed, unanswered or impossible."""

    fault: Fault
    outcome: str
    told: str
    seconds: float


@dataclass
class Story:
    """All that a run has to tell."""

    plan: Plan
    books: Books
    strikes: list[Strike] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    fenced_out: int = 0
    sending_s: float = 0.0
    settling_s: float = 0.0

    @property
    def broken(self) -> list[str]:
        return [f"{check.name}: {what}" for check in self.checks for what in check.broken]


class Gate:
    """Keeps submissions and faults in step: a fault waits for its submission to begin, and
    submissions do not run away from a fault that is not over. They never cease before the last
    fault is over: then one goes on every ``trickle_s``, and where all are sent, another one."""

    def __init__(self, plan: Plan, *, trickle_s: float = TRICKLE_S) -> None:
        self._changed = threading.Condition()
        self._plan = plan
        self._trickle_s = trickle_s
        self._left = list(plan.sendings)
        self._faults = list(plan.faults)
        self._begun = 0
        self._given_at = time.monotonic()

    def take(self) -> Sending | None:
        """The next submission, once it may begin; None when all are taken and nothing strikes."""
        with self._changed:
            while not self._may_go_on():
                self._changed.wait(min(self._trickle_s, TRICKLE_S))
            if not self._left and not self._faults:
                return None
            number = self._begun
            self._begun += 1
            self._given_at = time.monotonic()
            self._changed.notify_all()
            return self._left.pop(0) if self._left else filler(self._plan, number)

    def _may_go_on(self) -> bool:
        if not self._faults:
            return True
        if self._left and self._left[0].number < self._faults[0].at + AHEAD:
            return True
        return time.monotonic() - self._given_at >= self._trickle_s

    def await_turn(self, fault: Fault, *, seconds: float) -> bool:
        """Return when the fault's submission has begun; False where it has not by then."""
        with self._changed:
            return self._changed.wait_for(lambda: self._begun > fault.at, seconds)

    def over(self, fault: Fault) -> None:
        """The fault, the first of those left, has struck or missed."""
        with self._changed:
            self._faults.remove(fault)
            self._changed.notify_all()

    def give_up(self) -> None:
        """Nothing more is sent."""
        with self._changed:
            self._left.clear()
            self._faults.clear()
            self._changed.notify_all()


def spend(rig: Rig, plan: Plan, say: Callable[[str], None]) -> Story:
    """Run the plan on a started service and check what is left of it.

    Whatever goes wrong meanwhile breaks a check of the story: the night has a verdict.
    """
    books = Books()
    story = Story(plan, books)
    striker = Striker(rig, books)
    gate = Gate(plan, trickle_s=TRICKLE_S * rig.pace)
    began = time.monotonic()
    threads = clients(rig, gate, books)
    try:
        _strike_all(story, striker, gate, say)
    except NoStartError as error:
        # Nothing runs that could be looked at.
        gate.give_up()
        story.sending_s = time.monotonic() - began
        story.checks = [Check("the service comes up again", 1, [str(error)])]
        return story
    except BaseException:
        gate.give_up()
        raise
    await_clients(threads, books, seconds=rig.limit(3 * PATIENCE_S))
    for sending in plan.sendings:
        if sending.number not in books.sent:
            books.odd(f"submission {sending.number} ({sending.kind}) was never sent")
    story.sending_s = time.monotonic() - began
    say(f"sent {len(books.sent)} submissions in {story.sending_s:.0f} s; waiting for the rest")
    _look_back(rig, story, striker)
    return story


def _strike_all(story: Story, striker: Striker, gate: Gate, say: Callable[[str], None]) -> None:
    for fault in story.plan.faults:
        # A client that is alive begins another submission when its patience with one is over.
        if not gate.await_turn(fault, seconds=striker.rig.limit(2 * PATIENCE_S)):
            story.books.odd(f"submission {fault.at} did not begin: the clients are stuck")
            gate.give_up()
            return
        strike = _strike(striker, fault)
        story.strikes.append(strike)
        say(f"  {fault.kind:30} {strike.outcome:10} {strike.seconds:5.1f} s  {strike.told}")
        gate.over(fault)


def clients(rig: Rig, gate: Gate, books: Books) -> list[threading.Thread]:
    """Start those that send what the gate gives. One that breaks at a submission notes that and
    goes on with the next."""
    token = rig.token()

    def work() -> None:
        client = Client(rig.url, token, books, patience_s=rig.limit(PATIENCE_S))
        while (sending := gate.take()) is not None:
            try:
                if sending.kind == "stolen" and sending.of is not None:
                    books.await_end(sending.of)
                client.send(sending)
            except Exception as error:  # noqa: BLE001
                books.broke(sending, error)
            finally:
                books.end(sending)

    threads = [threading.Thread(target=work, name=f"client-{k}") for k in range(CLIENTS)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    return threads


def await_clients(threads: Sequence[threading.Thread], books: Books, *, seconds: float) -> None:
    """Return when all are done; those that are not by then are noted and left alone."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            books.odd(f"{thread.name} did not come to an end")


def _strike(striker: Striker, fault: Fault) -> Strike:
    began = time.monotonic()
    try:
        told, outcome = striker.strike(fault.kind, fault.seed), "struck"
    except Missed as error:
        told, outcome = str(error), "missed"
    except Unanswered as error:
        told, outcome = str(error), "unanswered"
    except Impossible as error:
        told, outcome = str(error), "impossible"
    return Strike(fault, outcome, told, time.monotonic() - began)


def _look_back(rig: Rig, story: Story, striker: Striker) -> None:
    """Wait until all is at rest, then check every invariant."""
    began = time.monotonic()
    story.checks = looked_at("settle", lambda: [settle(rig)])
    story.settling_s = time.monotonic() - began
    cut_off = tuple(striker.cut_off)
    night = Night(rig.sql, story.books, cut_off, stand_in=not rig.real_model)
    for invariant in INVARIANTS:
        story.checks += looked_at(invariant.__name__, lambda: [invariant(night)])  # noqa: B023
    story.checks += looked_at("files_are_gone", lambda: [files_are_gone(rig)])
    story.checks += looked_at("verified", lambda: verified(rig))
    story.checks.append(faults_struck(story.strikes))
    story.checks += looked_at("count", lambda: _count(rig, story))


def looked_at(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    """What a check found. One that cannot be made proves nothing: it counts as broken."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001
        told = f"{type(error).__name__}: {error}".strip()
        return [Check(f"{name} could be looked at", 1, [told])]


def _count(rig: Rig, story: Story) -> list[Check]:
    """What the report tells beside the checks."""
    story.fenced_out = rig.logged(FENCED_OUT)
    story.jobs = dict(rig.sql("SELECT state, count(*) FROM cases_job GROUP BY state"))
    story.attempts = dict(
        rig.sql("SELECT attempt, count(*) FROM cases_job GROUP BY attempt ORDER BY attempt")
    )
    return []


def settle(rig: Rig) -> Check:
    """Everything becomes final and well again, with nobody's help, within the bound."""
    check = Check("no human was needed: all came to rest by itself", checked=1)
    active = "SELECT id FROM cases_job WHERE finished_at IS NULL"
    try:
        rig.wait(lambda: not rig.sql(active), seconds=SETTLE_S, what="every job to end")
        rig.wait(rig.is_ready, seconds=READY_S, what="/readyz")
    except RigError as error:
        check.broken.append(str(error))
    return check


def files_are_gone(rig: Rig) -> Check:
    """Uploads that killed web servers left in the temporary folder go at a later start, an hour
    on: here their time is set back."""
    left = list(rig.uploads.iterdir())
    check = Check("temporary files of killed servers are cleared away", checked=len(left))
    if not left:
        return check
    for path in left:
        os.utime(path, (time.time() - 7200,) * 2)
    old = rig.web_master()
    if old:
        with suppress(ProcessLookupError):
            os.kill(old, signal.SIGTERM)
    try:
        if old:
            rig.wait(lambda: not linux.is_alive(old), seconds=READY_S, what="the web server's end")
        rig.wait(rig.is_ready, seconds=READY_S, what="/readyz")
    except RigError as error:
        check.broken.append(str(error))
    check.broken += [path.name for path in left if path.exists()]
    return check


def verified(rig: Rig) -> list[Check]:
    """The service's own verifying commands, side by side: most of it is their start."""
    checks = []
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(rig.manage, VERIFIERS))
    for name, done in zip(VERIFIERS, ended, strict=True):
        check = Check(f"manage.py {name} finds all whole", checked=1)
        if done.returncode:
            words = (done.stdout + done.stderr).strip().splitlines()
            check.broken += words or [f"exit code {done.returncode}"]
        checks.append(check)
    return checks


def faults_struck(strikes: Sequence[Strike]) -> Check:
    """Every kind of fault that was wanted did strike, where this machine allows it, and the service
    did each time what must follow."""
    kinds = {strike.fault.kind for strike in strikes}
    check = Check("every wanted kind of fault struck, and was answered", checked=len(kinds))
    for kind in sorted(kinds):
        mine = [strike for strike in strikes if strike.fault.kind == kind]
        if all(strike.outcome == "missed" for strike in mine):
            check.broken.append(f"{kind} never struck: {mine[-1].told}")
        check.broken += [f"{kind}: {s.told}" for s in mine if s.outcome == "unanswered"]
    return check
