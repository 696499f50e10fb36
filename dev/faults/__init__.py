"""A job under load through many seeded faults in every transition, with a ledger at the end: `make faults`.

In reading order: `load` (the job, and what feeds it), `output` (is the output right?), `world` (the
cluster, and whether a fault hit), `injections` (the faults), `transitions` and `short_lived_job` (what
is in progress when a fault happens), `run` (the command).
"""
