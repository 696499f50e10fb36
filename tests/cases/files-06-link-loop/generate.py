"""Links that lead back, and one to a folder that is listed anyway."""
import os

os.mkdir("in/sub")
for at, n in (("in/a.json", 1), ("in/sub/b.json", 2)):
    with open(at, "w") as out:
        out.write('{"n":%d}\n' % n)
os.symlink(".", "in/loop")
os.symlink("sub", "in/twin")
os.symlink("..", "in/sub/back")
os.mkfifo("in/pipe")
