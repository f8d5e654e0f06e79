"""supysonic as one process for tests/music_servers.py, with nothing of this machine's own supysonic.

    python supysonic_server.py SCRATCH FOLDER USER PASSWORD FD

makes a database in SCRATCH with the administrator USER, scans FOLDER, and serves it with waitress on the listening
socket FD. It prints a line when a scan is complete, scans again for every line it reads, and ends with its input.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import waitress  # type: ignore[import-untyped]  # ships no types, as supysonic
from supysonic import config, db, scanner, web  # type: ignore[import-untyped]
from supysonic.managers.user import UserManager  # type: ignore[import-untyped]

_CONFIG = """
[base]
database_uri = sqlite:///{scratch}/supysonic.db
[webapp]
cache_dir = {scratch}/cache
mount_webui = off
[transcoding]
transcoder_flac_mp3 = ffmpeg -nostdin -v error -i %srcpath -b:a %outratek -f mp3 -
"""
_EXTENSIONS = ["flac", "mp3", "ogg", "m4a", "wav"]


def scan() -> None:
    """Read every file below the folder, also those whose mtime is as before."""
    scan = scanner.Scanner(force=True, extensions=_EXTENSIONS)
    scan.queue_folder("Music")
    scan.run()
    print("scanned", flush=True)


def main(scratch: str, folder: str, user: str, password: str, listener: str) -> None:
    """Serve `folder` until the input ends."""
    settings = Path(scratch, "supysonic.conf")
    settings.write_text(_CONFIG.format(scratch=scratch))
    app = web.create_application(config.IniConfig([str(settings)]))
    db.open_connection()
    UserManager.add(user, password, admin=True)
    db.Folder.create(root=True, name="Music", path=folder)
    db.close_connection()
    scan()
    server = waitress.create_server(app, sockets=[socket.socket(fileno=int(listener))])
    threading.Thread(target=server.run, daemon=True).start()
    for _ in sys.stdin:
        scan()


if __name__ == "__main__":
    main(*sys.argv[1:])
