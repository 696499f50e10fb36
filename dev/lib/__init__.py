"""What demo and end-to-end tests are built from.

In reading order: `wait` (until a condition holds, or say what was seen), `narrate` (what the
person at the terminal sees), `kubectl` (Kubernetes by its command line), `cluster` (which
cluster, its images, its faults), `s3` (a small client), `seaweed` (an S3 server on this host),
`ledger` (the output of a job, compared row for row with what it must be).
"""
