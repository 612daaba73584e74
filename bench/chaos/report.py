"""What a run has to tell: lines for people, an object for programs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench.chaos.invariants import Check
from bench.chaos.night import Story, Strike

# Of each invariant so many breaks are printed; the JSON has them all.
SHOWN = 10


def lines(story: Story) -> list[str]:
    """The tables, and the verdict as the last line."""
    return [
        *_deliveries(story),
        "",
        "faults                          wanted struck missed",
        *_faults(story.strikes),
        "",
        "invariants",
        *(line for check in story.checks for line in _check(check)),
        "",
        verdict(story),
    ]


def verdict(story: Story) -> str:
    """`chaos: ok (…)`, or how much broke."""
    sent, accepted = len(story.books.sent), len(story.books.accepted())
    struck = sum(strike.outcome == "struck" for strike in story.strikes)
    told = (
        f"seed {story.plan.seed}, {sent} submissions, {accepted} accepted, "
        f"{sum(story.jobs.values())} jobs, {struck} faults, {len(story.checks)} invariants"
    )
    if not story.broken:
        return f"chaos: ok ({told})"
    broken = sum(bool(check.broken) for check in story.checks)
    return f"chaos: {broken} invariants broken, {len(story.broken)} times ({told})"


def _deliveries(story: Story) -> list[str]:
    books = story.books
    tries = sum(sent.tries for sent in books.sent.values())
    refused = Counter(sent.refused for sent in books.sent.values() if sent.refused)
    return [
        f"submissions  {_told(_kinds(story))}",
        f"refused      {_told(refused) or 'none'}",
        f"answers      {tries} requests: {_told(books.statuses)}",
        f"jobs         {_told(story.jobs)}; by attempts: {_told(story.attempts)}",
        f"late results {story.fenced_out} fenced out",
        f"time         {story.sending_s:.0f} s of faults, {story.settling_s:.0f} s to come to rest",
    ]


def _kinds(story: Story) -> dict[str, int]:
    return dict(Counter(sent.sending.kind for sent in story.books.sent.values()))


def _told(found: Any) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items())


def _faults(strikes: list[Strike]) -> list[str]:
    told = []
    for kind in dict.fromkeys(strike.fault.kind for strike in strikes):
        mine = [strike for strike in strikes if strike.fault.kind == kind]
        found = Counter(strike.outcome for strike in mine)
        why = next((strike.told for strike in mine if strike.outcome != "struck"), "")
        counted = f"{len(mine):6d} {found['struck']:6d} {len(mine) - found['struck']:6d}"
        told.append(f"  {kind:30}{counted}  {why}".rstrip())
    return told


def _check(check: Check) -> list[str]:
    mark = "BROKEN" if check.broken else "ok"
    told = [f"  {mark:7}{check.checked:6d}  {check.name}"]
    told += [f"                 {what}" for what in check.broken[:SHOWN]]
    if len(check.broken) > SHOWN:
        told.append(f"                 and {len(check.broken) - SHOWN} more")
    return told


def as_json(story: Story, settings: dict[str, Any]) -> dict[str, Any]:
    """The whole story, with the schedule that a replay of this seed would have."""
    return {
        "ok": not story.broken,
        "verdict": verdict(story),
        "seed": story.plan.seed,
        **settings,
        "submissions": _kinds(story),
        "accepted": len(story.books.accepted()),
        "refused": dict(
            Counter(sent.refused for sent in story.books.sent.values() if sent.refused)
        ),
        "answers": dict(story.books.statuses),
        "jobs": story.jobs,
        "jobs_by_attempts": story.attempts,
        "fenced_out": story.fenced_out,
        "sending_s": round(story.sending_s, 1),
        "settling_s": round(story.settling_s, 1),
        "faults": [
            {
                "kind": strike.fault.kind,
                "at_submission": strike.fault.at,
                "outcome": strike.outcome,
                "told": strike.told,
                "seconds": round(strike.seconds, 1),
            }
            for strike in story.strikes
        ],
        "invariants": [
            {"name": check.name, "checked": check.checked, "broken": check.broken}
            for check in story.checks
        ],
    }
