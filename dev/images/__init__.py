"""Container images without a container engine: `python3 -m dev.images` builds and loads them."""
