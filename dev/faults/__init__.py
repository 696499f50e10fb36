"""A job under load through many seeded faults in every transition, with a ledger at the end: `make faults`.

In reading order: `load` (the job, and what feeds it), `output` (is the output right?), `world` (who is there, and whether a fault came about), `injections` (the faults), `transitions` and `short_lived_job` (what
they strike in the middle of), `run` (the command).
"""
