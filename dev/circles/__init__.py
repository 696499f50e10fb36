"""Files that depend on each other in a circle: `python3 -m dev.circles`.

A circle cannot be read from one end to the other, and none of its files can be understood or moved
alone. The command reads Rust and Python, leaves tests out, and fails if it finds a circle.

In reading order: `graph` (arrows and circles), `tokens` and `items` (what a Rust file declares,
imports and names), `rust` (modules of all crates, and where a path leads), `python` (imports below
`dev/`).
"""
