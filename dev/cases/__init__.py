"""Inputs that once gave a wrong answer, and the answer that is right: `python3 -m dev.cases [PATTERN]`.

* `case`: what a case's folder in `tests/cases/` says.
* `judge`: whether what a run printed is that answer. Pure. As a control every right answer is also judged
  by wrong expectations, and must fail.
* `store`: a small S3 server for cases about storage.
* `run`: runs the engine's binary on a copy of the folder, with a deadline.
"""
