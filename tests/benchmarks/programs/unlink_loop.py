"""``unlink_loop.py PATHS``: a bare loop over os.unlink, which plans nothing."""

import os
import sys
import time

with open(sys.argv[1]) as file:  # noqa: PTH123 - pathlib would be a part of what it takes
    paths = file.read().split()
start = time.perf_counter()
for path in paths:
    os.unlink(path)  # noqa: PTH108 - likewise
print("inner", time.perf_counter() - start)
