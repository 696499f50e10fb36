"""The target comes back."""
import os

os.remove("out/file")
