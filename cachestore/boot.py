"""Which boot of the machine this is: bytes written under another one may not have reached the disk."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """Return what the system calls this boot, empty where it has no name for it."""
    try:
        return _LINUX.read_text().strip()
    except OSError:
        return _ask_sysctl()


def _ask_sysctl() -> str:
    """Return macOS' name for this boot."""
    import subprocess  # Linux has no use for it

    try:
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 (constant)
    except (OSError, subprocess.CalledProcessError):
        return ""
