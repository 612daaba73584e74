"""`make chaos`: hundreds of jobs through the API while everything that may break does.

`plan` draws what is sent and what strikes when, from a seed; `client` sends as a good client
would; `rig` runs the real service in a folder of its own; `faults` break it; `invariants` look at
what is left; `report` tells. docs/chaos.md says how to read and repeat a run.
"""
