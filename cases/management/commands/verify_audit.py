"""`manage.py verify_audit`: is the audit trail as it was sealed?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind
from cases.sealing import Head
from cases.selectors.seals import MAX_UNSEALED, ChainCheck, SealState, seal_state


class Command(BaseCommand):
    help = (
        "Check every audit event against the chain of seals. Exit code: 0 whole, 1 with a line "
        "for each fault, 2 bad usage. Keep the head elsewhere: only it shows that seals were "
        "removed from the end or that the whole chain was made anew."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        known = parser.add_mutually_exclusive_group()
        known.add_argument(
            "--expect", metavar="HEAD", help="check all, and that this head (NUMBER:HASH) is in it"
        )
        known.add_argument(
            "--since-head", metavar="FILE", help="check only what came after the head in this file"
        )
        known.add_argument(
            "--head", action="store_true", help="print the head without checking anything"
        )
        parser.add_argument(
            "--json", metavar="FILE", help="write the head to this file, unless there is a fault"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        expect = _head(options["expect"]) if options["expect"] else None
        since = _head_in(options["since_head"]) if options["since_head"] else None
        # Before the walk: a seal that is made during it was not checked.
        state = seal_state(actor=Actor(kind=ActorKind.COMMAND, label="manage.py verify_audit"))
        if options["head"]:
            self._tell_head(state)
        else:
            self._check(ChainCheck(expect=expect, since=since), state)
        if options["json"]:
            self._write(Path(options["json"]), state)

    def _check(self, check: ChainCheck, state: SealState) -> None:
        count = 0
        for count, fault in enumerate(check.faults(), start=1):  # noqa: B007
            self.stdout.write(str(fault))
        if count:
            raise CommandError(f"the audit trail is not whole: {count} faults", returncode=1)
        waiting = f"more than {MAX_UNSEALED}" if state.unsealed > MAX_UNSEALED else state.unsealed
        head = f", head {check.head}" if check.head else ""
        self.stdout.write(
            f"whole: {check.seals} seals over {check.events} events{head}; "
            f"{waiting} events wait for the next seal"
        )

    def _tell_head(self, state: SealState) -> None:
        if state.head is None:
            raise CommandError("nothing is sealed yet")
        self.stdout.write(str(Head(state.head.number, state.head.hash)))

    def _write(self, path: Path, state: SealState) -> None:
        seal = state.head
        if seal is None:
            raise CommandError("nothing is sealed yet")
        told = {
            "algorithm": seal.algorithm,
            "number": seal.number,
            "hash": seal.hash,
            "last_id": seal.last_id,
            "sealed_at": seal.sealed_at.isoformat(),
        }
        try:
            path.write_text(json.dumps(told, indent=2) + "\n")
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as error:
        raise CommandError(str(error), returncode=2) from error


def _head_in(name: str) -> Head:
    try:
        told = json.loads(Path(name).read_text())
        return Head.parse(f"{told['number']}:{told['hash']}")
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}", returncode=2) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{name}: no head of an audit chain", returncode=2) from error
