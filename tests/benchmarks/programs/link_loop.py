"""``link_loop.py PATHS FOLDER``: a bare loop over os.link, which checks, remembers and names nothing."""

import os
import sys
import time

with open(sys.argv[1]) as file:  # noqa: PTH123 - pathlib would be a third of what it takes
    paths = file.read().split()
folder = sys.argv[2]
os.mkdir(folder)  # noqa: PTH102 - likewise
start = time.perf_counter()
for number, path in enumerate(paths):
    os.link(path, f"{folder}/{number:05} - Artist - Song.flac")
print("inner", time.perf_counter() - start)
