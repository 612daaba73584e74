"""A good client: it keeps its Idempotency-Key, tries again when that can help, and keeps books."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx

from bench.chaos import pictures
from bench.chaos.plan import File, Sending
from bench.chaos.poison import DECODER_POISON

ANSWER_S = 40.0
# What Retry-After says is kept to this: a run lasts minutes.
LONGEST_PAUSE_S = 3.0
# A refusal of the request itself; all others may pass.
FINAL = (400, 401, 403, 404, 409, 413, 415, 422)


@dataclass
class Sent:
    """What a client knows of one submission at the end."""

    key: str
    sending: Sending
    hashes: list[str] = field(default_factory=list)
    # "": never answered. `refused` is the code of the refusal.
    submission: str = ""
    refused: str = ""
    images: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    # Every submission that was named in an answer to this key: one, if all is well.
    named: set[str] = field(default_factory=set)
    cancelled: bool = False
    tries: int = 0

    @property
    def accepted(self) -> bool:
        return bool(self.submission)

    @property
    def owns_bytes(self) -> bool:
        """Whether nobody else sends these pictures."""
        return self.sending.kind != "stolen"


class Books:
    """What was sent and what was answered, by all clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent: dict[int, Sent] = {}
        self.statuses: Counter[str] = Counter()
        self.oddities: list[str] = []
        self._ended: set[int] = set()
        self._end = threading.Condition()

    def open(self, sending: Sending) -> Sent:
        with self._lock:
            sent = Sent(key=f"chaos-{sending.number}-{sending.patient}", sending=sending)
            self.sent[sending.number] = sent
            return sent

    def count(self, what: str) -> None:
        with self._lock:
            self.statuses[what] += 1

    def odd(self, what: str) -> None:
        """Note what a client must never see."""
        with self._lock:
            self.oddities.append(what)

    def broke(self, sending: Sending, error: Exception) -> None:
        """Note that a client could not make sense of what it met."""
        told = f"{type(error).__name__}: {error}"[:300]
        self.odd(f"submission {sending.number} ({sending.kind}) broke its client: {told}")

    def end(self, sending: Sending) -> None:
        """All that was to be done with a submission is done."""
        with self._end:
            self._ended.add(sending.number)
            self._end.notify_all()

    def await_end(self, number: int) -> None:
        """Return when that is so."""
        with self._end:
            self._end.wait_for(lambda: number in self._ended)

    def accepted(self) -> list[Sent]:
        """Those that were answered with 202, in order."""
        return [sent for _, sent in sorted(self.sent.items()) if sent.accepted]


def content(file: File) -> bytes:
    """The bytes of a planned file."""
    if file.wrong == "truncated":
        return pictures.truncated(file.name)
    if file.wrong == "no-picture":
        return pictures.no_picture(file.name)
    return pictures.picture(file.name, file.wrong)


class Client:
    """Sends submissions; one per thread."""

    def __init__(self, url: str, token: str, books: Books, *, patience_s: float) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._books = books
        self._patience_s = patience_s

    def send(self, sending: Sending) -> None:
        """Send one submission, and do with it what is planned."""
        sent = self._books.open(sending)
        files = [(f"{place}.jpg", content(file)) for place, file in enumerate(sending.files)]
        sent.hashes = [sha256(data).hexdigest() for _, data in files]
        if sending.kind == "race":
            twins = [threading.Thread(target=self._twin, args=(sent, files)) for _ in range(2)]
            for twin in twins:
                twin.daemon = True
                twin.start()
            for twin in twins:
                twin.join()
        else:
            self._post(sent, files)
        if sending.kind == "again" and sent.accepted:
            self._post(sent, files)
        if sending.kind == "cancel" and sent.accepted:
            self._cancel(sent)
        self._compare(sent)

    def _twin(self, sent: Sent, files: list[tuple[str, bytes]]) -> None:
        """`_post` in a thread of its own, where nobody would hear of an error."""
        try:
            self._post(sent, files)
        except Exception as error:  # noqa: BLE001
            self._books.broke(sent.sending, error)

    def _post(self, sent: Sent, files: list[tuple[str, bytes]]) -> None:
        data = {"patient_id": sent.sending.patient, "accession_number": sent.sending.accession}
        answer = self._persist(
            sent,
            lambda client: client.post(
                "/submissions/",
                data=data,
                files=[("file", file) for file in files],
                headers={"Idempotency-Key": sent.key},
            ),
        )
        if answer is None:
            return
        if answer.status_code != 202:
            sent.refused = _code(answer) or str(answer.status_code)
            return
        body = answer.json()
        sent.submission = body["id"]
        sent.named.add(body["id"])
        sent.images = [image["id"] for image in body["images"]]
        sent.jobs = [job["id"] for job in body["jobs"]]

    def _cancel(self, sent: Sent) -> None:
        url = f"/jobs/{sent.jobs[0]}/cancel/"
        # Too late is no fault, and no other try will help.
        answer = self._persist(sent, lambda client: client.post(url), conflict_passes=False)
        sent.cancelled = answer is not None and answer.status_code == 200

    def _persist(
        self,
        sent: Sent,
        ask: Callable[[httpx.Client], httpx.Response],
        *,
        conflict_passes: bool = True,
    ) -> httpx.Response | None:
        """Ask until there is an answer that another try would not change; None at the end of
        all patience."""
        deadline = time.monotonic() + self._patience_s
        pause = 0.1
        while time.monotonic() < deadline:
            sent.tries += 1
            try:
                # A connection of its own each time: the server may have been another one since.
                with httpx.Client(
                    base_url=f"{self._url}/api/v1", headers=self._headers, timeout=ANSWER_S
                ) as client:
                    answer = ask(client)
                code = _code(answer)
                self._books.count(f"{answer.status_code} {code}".strip())
                # Another request with this key is being taken in.
                conflict = answer.status_code == 409 and code == "state_conflict"
                if not (conflict and conflict_passes) and not _passes(answer.status_code):
                    return answer
                told = float(answer.headers.get("Retry-After", pause))
            except httpx.TransportError as error:
                self._books.count(type(error).__name__)
                told = pause
            time.sleep(min(told, LONGEST_PAUSE_S))
            pause = min(2 * pause, LONGEST_PAUSE_S)
        return None

    def _compare(self, sent: Sent) -> None:
        """Note an outcome that was not to be."""
        sending, told = sent.sending, f"submission {sent.sending.number} ({sent.sending.kind})"
        expected = refusals(sending)
        if not sent.accepted and not sent.refused:
            self._books.odd(f"{told} got no answer in {self._patience_s:g} s")
        elif expected and sent.refused not in expected:
            self._books.odd(f"{told} was {sent.refused or 'accepted'}, not {' or '.join(expected)}")
        elif not expected and not sent.accepted:
            self._books.odd(f"{told} was refused: {sent.refused}")


def refusals(sending: Sending) -> tuple[str, ...]:
    """The codes with which a submission may be refused; none where it must be accepted."""
    if sending.kind == "stolen":
        return ("duplicate_of_other_patient",)
    wrongs = {file.wrong for file in sending.files}
    if "no-picture" in wrongs:
        return ("image_unsupported",)
    if "truncated" in wrongs or wrongs & set(DECODER_POISON):
        return ("image_corrupt",)
    return ()


def _code(answer: httpx.Response) -> str:
    if answer.status_code < 400:
        return ""
    try:
        body: Any = answer.json()
    except ValueError:
        return ""
    return str(body.get("code", "")) if isinstance(body, dict) else ""


def _passes(status: int) -> bool:
    """Whether the same request may fare better later."""
    return status >= 400 and status not in FINAL
