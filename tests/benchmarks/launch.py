"""Run one command and print its seconds, its CPU seconds, the most memory it had in kB, and its exit code.

``python -I -S launch.py STDOUT STDERR ARGV...``. A process of its own, and a small one: Linux counts as a process's
most memory also what its parent had when it was started, so this one's 9 MB are the least that can be measured.
"""

import os
import sys
import time


def main(stdout: str, stderr: str, argv: list[str]) -> None:
    """Run `argv` and print four numbers; CPU and memory are those of all processes that it waited for."""
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [(os.POSIX_SPAWN_OPEN, number, path, write, 0o600) for number, path in ((1, stdout), (2, stderr))]
    start = time.perf_counter()
    process = os.posix_spawnp(argv[0], argv, os.environ, file_actions=files)
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - start
    print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
