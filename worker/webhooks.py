"""The deliverer of webhooks: claims what is due, sends several at once, notes how each went.

Threads send, and know neither database nor Django; this one claims and notes. A thread that still
sends when the process ends is left behind: its message goes out again when the lease ends.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.conf import settings

from cases.access import Actor, ActorKind
from cases.services.deliveries import Ending, Letter, deliveries_claim, delivery_finish
from cases.services.webhook_fields import outbound_rules
from cases.states import DeliveryState
from worker.webhook_transport import post

log = structlog.get_logger(__name__)

AT_ONCE = 8
# Of these, for webhooks whose last attempt failed.
MOST_FAILING = AT_ONCE // 2
# Where something is always due, others of this worker's tasks get their turn after so long (and
# what is on its way then: at most one attempt more).
TURN_S = 30.0
# How often it is looked whether the worker was told to end.
LOOK_S = 0.5
# The supervisor gives the workers 4 s.
LAST_ANSWERS_S = 2.0

Send = Callable[[Letter], Ending]


def send_letter(letter: Letter) -> Ending:
    """One attempt, by the settings."""
    return post(
        letter.url,
        headers=letter.headers,
        body=letter.body,
        rules=outbound_rules(),
        seconds=settings.BCWEB_WEBHOOK_SECONDS,
    )


@dataclass(frozen=True)
class _Sent:
    letter: Letter
    ending: Ending | None


class Deliverer:
    """Sends until nothing is due, or its turn is over. ``should_stop``: whether the process was
    told to end."""

    def __init__(
        self, *, name: str, should_stop: Callable[[], bool], send: Send = send_letter
    ) -> None:
        self._actor = Actor(kind=ActorKind.WORKER, label=name)
        self._should_stop, self._send = should_stop, send
        self._sent: queue.SimpleQueue[_Sent] = queue.SimpleQueue()
        # How many are on their way; of these, to webhooks that fail.
        self._out = self._failing = 0
        # Whether the last `drain` ended because its turn was over.
        self.more_waits = False

    def drain(self) -> int:
        """Deliver whatever is due; returns how many attempts were made.

        Once the turn is over those that fail get nothing more, and all others go on for as long
        as the last of these may take.
        """
        made, began = 0, time.monotonic()
        self.more_waits = False
        while not self._should_stop():
            spent = time.monotonic() - began
            self.more_waits = spent >= TURN_S
            letters = self._claim(spent)
            for letter in letters:
                self._start(letter)
            made += len(letters)
            if not self._out:
                return made
            self._note_one(LOOK_S)
        end = time.monotonic() + LAST_ANSWERS_S
        while self._out and time.monotonic() < end:
            self._note_one(end - time.monotonic())
        return made

    def _claim(self, spent: float) -> list[Letter]:
        free = AT_ONCE - self._out
        if not free or spent >= TURN_S + settings.BCWEB_WEBHOOK_SECONDS:
            return []
        failing = MOST_FAILING - self._failing if spent < TURN_S else 0
        return deliveries_claim(actor=self._actor, limit=free, failing=failing)

    def _start(self, letter: Letter) -> None:
        self._out += 1
        self._failing += letter.failing
        threading.Thread(target=self._run, args=(letter,), name="webhook-send", daemon=True).start()

    def _run(self, letter: Letter) -> None:
        ending: Ending | None = None
        try:
            ending = self._send(letter)
        except Exception:
            log.exception("webhook_send_failed", delivery_id=str(letter.delivery_id))
        finally:
            self._sent.put(_Sent(letter, ending))

    def _note_one(self, seconds: float) -> None:
        """Note the next answer that comes within ``seconds``."""
        try:
            sent = self._sent.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return
        self._out -= 1
        self._failing -= sent.letter.failing
        if sent.ending is None:
            # Its lease ends, and it is sent again, in its bounded number of attempts.
            return
        state = delivery_finish(
            actor=self._actor,
            delivery_id=sent.letter.delivery_id,
            attempt=sent.letter.attempt,
            ending=sent.ending,
        )
        told = log.info if state == DeliveryState.DELIVERED else log.warning
        told(
            "webhook_sent",
            delivery_id=str(sent.letter.delivery_id),
            attempt=sent.letter.attempt,
            outcome=sent.ending.outcome.value,
            status_code=sent.ending.status_code,
            duration_ms=sent.ending.duration_ms,
            state=state.value if state else None,
        )
