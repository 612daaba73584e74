"""Mutated files against the doors of intake: seeded, replayable (docs/security.md)."""
