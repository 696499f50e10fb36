"""Where things are: the checkout, and the cache that holds all that is built or downloaded."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamkeeper"
CARGO_TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")
