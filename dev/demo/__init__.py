"""The demonstration: one job through everything that can happen to it, and a ledger at the end.

In reading order: `flights` (the job and its input), `output` (what the output must be, computed by
SQLite from the raw files), `watch` (what the job says of itself), `story` (the steps), `run` (the
command).
"""
