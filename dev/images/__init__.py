"""Container images without a container engine: `python3 -m dev.images` builds and loads them.

`recipes` knows which images there are and what is in them; `archive` writes one.
"""

from dev.images.recipes import OPERATOR, PREVIOUS, REFERENCES, RUNTIME, SEAWEEDFS, BuildFailed, Built, build, cargo_build, digest, previous_operator

__all__ = ["OPERATOR", "PREVIOUS", "REFERENCES", "RUNTIME", "SEAWEEDFS", "BuildFailed", "Built", "build", "cargo_build", "digest", "previous_operator"]
