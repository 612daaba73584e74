"""The messages in the real queues, counted and taken out; the bell silent at the start."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bcweb.celery import app
from cases import queue


class Rings:
    """Rings go to queues of their own, so that no worker of another test answers them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = ("inference", "training", "webhooks")
        self.names = {name: f"test-{name}-{uuid4()}" for name in names}
        told = {kind: self.names[name] for kind, name in queue.QUEUE_OF_KIND.items()}
        monkeypatch.setattr(queue, "QUEUE_OF_KIND", told)
        bells = frozenset({self.names["inference"], self.names["webhooks"]})
        monkeypatch.setattr(queue, "BELLS", bells)
        monkeypatch.setattr(queue, "DELIVER_QUEUE", self.names["webhooks"])
        # Longer than any test takes on a busy machine.
        monkeypatch.setattr(queue, "BELL_LIFE_S", 600)
        answer = queue.bell_answer
        monkeypatch.setattr(queue, "bell_answer", lambda name: answer(self.names.get(name, name)))

    def taken(self) -> list[str]:
        """The tasks rung for since the last look."""
        found = []
        with app.connection_for_read() as connection:
            for name in self.names.values():
                with connection.SimpleQueue(name) as waiting:
                    while True:
                        try:
                            message = waiting.get_nowait()
                        except waiting.Empty:
                            break
                        message.ack()
                        found.append(message.headers["task"])
        return found
