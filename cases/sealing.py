"""How the audit trail is sealed: encodings, hashes, and what a check may find. No ORM.

A seal covers a run of events in the order of their ids. It lists each event's id and the SHA-256
of its content, and carries the hash of the seal before it, so that no event and no seal can be
changed, removed or added without a trace in every later seal (docs/adr/0008).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

# Names everything below. Who changes what is hashed adds another one and keeps this for old seals.
ALGORITHM = "bcweb-audit-1"
# Every column beside the id, which stands next to the digest. `at` is read as seconds since 1970 in
# decimal digits and `detail` as the text Postgres writes for jsonb: exact, whatever was stored.
CONTENT = (
    "at",
    "actor_kind",
    "actor_label",
    "user_id",
    "token_id",
    "action",
    "object_type",
    "object_id",
    "site_id",
    "case_id",
    "request_id",
    "changed_fields",
    "detail",
)
_ENTRY = struct.Struct(">q32s")
# No transaction takes this long, and no clock is set back so far: an event that claims to be older
# than the seal before it by more was put there afterwards.
SLACK = timedelta(hours=1)

# (id, content in the order of CONTENT).
Row = tuple[int, Sequence[Any]]


class FaultKind(StrEnum):
    SEAL_ALTERED = "seal altered"
    SEAL_MISSING = "seal missing"
    SEALS_PARTED = "seals do not follow"
    HEAD_MISSING = "tail missing"
    HEAD_OTHER = "chain rewritten"
    EVENT_ALTERED = "event altered"
    EVENT_MISSING = "event missing"
    EVENT_INSERTED = "event inserted"
    EVENT_MOVED = "event reordered"
    EVENT_MISDATED = "event misdated"


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was sealed."""

    kind: FaultKind
    seal: int
    why: str
    event: int | None = None

    def __str__(self) -> str:
        where = f"seal {self.seal}" if self.event is None else f"event {self.event}"
        return f"{where}: {self.why}"


@dataclass(frozen=True)
class Head:
    """The last seal of a chain, as it is kept elsewhere."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """``NUMBER:HASH``. Raises ``ValueError``."""
        number, colon, digest = text.strip().partition(":")
        if not colon or not number.isascii() or not number.isdigit() or int(number) < 1:
            raise ValueError("a head is NUMBER:HASH")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ValueError("the hash of a head is 64 hexadecimal digits")
        return cls(int(number), digest)


@dataclass(frozen=True)
class SealFacts:
    """A seal as it is stored. Times are seconds since 1970 in decimal digits."""

    number: int
    algorithm: str
    after_id: int
    first_id: int
    last_id: int
    count: int
    entries: bytes
    previous: str
    horizon_id: int
    horizon_at: str
    sealed_at: str

    def digest(self) -> str:
        """The hash of the seal: SHA-256 over its fields as canonical JSON, in hexadecimal."""
        told = {
            "algorithm": self.algorithm,
            "number": self.number,
            "after_id": self.after_id,
            "first_id": self.first_id,
            "last_id": self.last_id,
            "count": self.count,
            "entries": hashlib.sha256(self.entries).hexdigest(),
            "previous": self.previous,
            "horizon_id": self.horizon_id,
            "horizon_at": self.horizon_at,
            "sealed_at": self.sealed_at,
        }
        return hashlib.sha256(_canonical(told)).hexdigest()

    def broken(self) -> str | None:
        """What of the seal contradicts itself, where anything does."""
        if self.algorithm != ALGORITHM:
            return f"its algorithm {self.algorithm!r} is not known here"
        if len(self.entries) != self.count * _ENTRY.size or not self.count:
            return "its list has another length than its count"
        ids = [event_id for event_id, _ in entries_unpack(self.entries)]
        if ids != sorted(set(ids)) or (ids[0], ids[-1]) != (self.first_id, self.last_id):
            return "its list is not in the order of ids"
        if not self.after_id < self.first_id or self.last_id > self.horizon_id:
            return "its list reaches beyond its bounds"
        return None


def epoch(moment: datetime) -> str:
    """Seconds since 1970 with six decimals, as Postgres writes ``extract(epoch from …)``."""
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return f"{whole // 10**6}.{whole % 10**6:06d}"


def event_digest(content: Sequence[Any]) -> bytes:
    """SHA-256 of the algorithm's name, a line feed, and the content as canonical JSON."""
    told = dict(zip(CONTENT, content, strict=True))
    return hashlib.sha256(ALGORITHM.encode() + b"\n" + _canonical(told)).digest()


def entries_pack(rows: Iterable[Row]) -> bytes:
    """Of each event 40 bytes: the id (signed, big-endian) and the digest."""
    return b"".join(_ENTRY.pack(event_id, event_digest(content)) for event_id, content in rows)


def entries_unpack(entries: bytes) -> Iterator[tuple[int, bytes]]:
    yield from _ENTRY.iter_unpack(entries)


def event_faults(
    seal: SealFacts, rows: Iterable[Row], *, not_before: Decimal | None
) -> Iterator[Fault]:
    """Where the events between ``after_id`` and ``last_id`` differ from what was sealed.

    Both sides come in the order of ids. ``not_before``: when the ids before these were all taken.
    """
    listed = list(entries_unpack(seal.entries))
    stood: dict[bytes, int] | None = None
    place = 0
    for event_id, content in rows:
        while place < len(listed) and listed[place][0] < event_id:
            yield _missing(seal, listed[place][0])
            place += 1
        known = place < len(listed) and listed[place][0] == event_id
        digest = event_digest(content)
        if known and digest == listed[place][1]:
            yield from _misdated(seal, event_id, content[0], not_before)
        else:
            if stood is None:
                stood = {at: name for name, at in listed}
            yield _differs(seal, event_id, known=known, stood=stood.get(digest))
        place += known
    for event_id, _ in listed[place:]:
        yield _missing(seal, event_id)


def _missing(seal: SealFacts, event_id: int) -> Fault:
    why = f"missing (it was in seal {seal.number})"
    return Fault(FaultKind.EVENT_MISSING, seal.number, why, event_id)


def _differs(seal: SealFacts, event_id: int, *, known: bool, stood: int | None) -> Fault:
    if stood is not None:
        why = f"reordered (seal {seal.number} has this event as {stood})"
        return Fault(FaultKind.EVENT_MOVED, seal.number, why, event_id)
    if known:
        why = f"altered since seal {seal.number}"
        return Fault(FaultKind.EVENT_ALTERED, seal.number, why, event_id)
    why = f"inserted after seal {seal.number} was made"
    return Fault(FaultKind.EVENT_INSERTED, seal.number, why, event_id)


def _misdated(
    seal: SealFacts, event_id: int, at: str, not_before: Decimal | None
) -> Iterator[Fault]:
    slack = Decimal(int(SLACK.total_seconds()))
    moment = Decimal(at)
    why = ""
    if not_before is not None and moment < not_before - slack:
        why = f"misdated (its time is long before seal {seal.number} could begin)"
    elif moment > Decimal(seal.horizon_at) + slack:
        why = f"misdated (its time is after seal {seal.number} was made)"
    if why:
        yield Fault(FaultKind.EVENT_MISDATED, seal.number, why, event_id)


def _text(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no canonical form for {type(value).__name__}")


# Sorted keys, no spaces, ASCII only; a UUID as its text. Made once: it is asked a million times.
_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_text
).encode


def _canonical(told: dict[str, Any]) -> bytes:
    return _encode(told).encode()
