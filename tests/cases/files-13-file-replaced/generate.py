"""A file of 60 MB whose rows are read for seconds: more than is read ahead."""
from second import write

write("in/a.json", 0)
