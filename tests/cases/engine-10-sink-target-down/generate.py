"""A file where the sink's folder should be."""
open("out/file", "w").close()
