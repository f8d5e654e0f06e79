"""``sqlite_loop.py FOLDER KEYS``: the same rows, asked for with bare sqlite3."""

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

keys = Path(sys.argv[2]).read_text().split()
with closing(sqlite3.connect(f"{sys.argv[1]}/cache.db")) as database:
    start = time.perf_counter()
    select = "SELECT value FROM Cache WHERE key = ? AND raw = 1"
    found = sum(database.execute(select, (key,)).fetchone() is not None for key in keys)
    print("inner", time.perf_counter() - start)
assert found == len(keys)
