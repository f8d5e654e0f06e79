"""``python -m cachestore`` and the console script."""

from __future__ import annotations

import io
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name that is no text must not end a listing
    try:
        from cachestore.cli.leaving import leave_soon
        from cachestore.cli.main import run

        code = run()
        leave_soon(code)
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
