"""What is known of the bytes of a partial, in a small file beside them."""

from __future__ import annotations

import json
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from cachestore.boot import boot_id
from cachestore.partials.promise import Promise
from cachestore.version import Version, VersionKind

if TYPE_CHECKING:
    from pathlib import Path


_MARK = 12
_BYTES = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}\.(part|work)")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the bytes are a part of: `total` of them in the whole, None if unknown.

    `validator`: the strong one of the answer that brought them, None if it had none; not the same as the version where
    that is the provider's word. `resource`: a hash of what it is the validator of, empty if unknown. `boot`: the boot
    in which the bytes were written; under another one, those that nobody synced may be missing. `hint`: a weak one,
    which can show that another answer is of other bytes. `promised`: the digests that the server gave so far.
    `digest`: that of the bytes when they were given back, empty while somebody has them. `locked`: whoever claimed them
    has the lock of the track for as long as it writes them, so that who gets that lock knows that nobody does.
    """

    address: str
    version: Version | None
    validator: Version | None
    total: int | None
    boot: str
    resource: str = ""
    hint: Version | None = None
    promised: tuple[Promise, ...] = ()
    digest: str = ""
    locked: bool = False

    @property
    def resumable(self) -> bool:
        """Return whether the rest can be asked for: of these very bytes, up to a known end.

        Without one, nothing would tell what is left of an error page with the validator of the file.
        """
        is_provided = self.version is not None and self.version.kind is VersionKind.PROVIDER
        return self.total is not None and (is_provided or self.validator is not None)

    @property
    def is_on_disk(self) -> bool:
        """Return whether all bytes are there: they were synced when they were given back, or no boot came since."""
        return self.digest != "" or self.boot == boot_id() != ""

    def write(self, path: Path) -> None:
        """Write the sidecar to `path`. Raise OSError."""
        row = {
            "track": self.address,
            "version": self.version and [self.version.kind, self.version.value],
            "validator": self.validator and [self.validator.kind, self.validator.value],
            "total": self.total,
            "boot": self.boot,
            "resource": self.resource,
            "hint": self.hint and [self.hint.kind, self.hint.value],
            "promised": [promise.to_row() for promise in self.promised],
            "digest": self.digest,
            "locked": self.locked,
        }
        path.write_bytes(json.dumps(row).encode())


def read_sidecar(path: Path) -> Sidecar | None:
    """Return the sidecar at `path`, or None when there is nothing to rely on."""
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        row = json.loads(path.read_bytes())
        versions = _version(row["version"]), _version(row["validator"])
        promised = tuple(Promise.from_row(promise) for promise in row["promised"])
        total, boot, resource = _total(row["total"]), _text(row["boot"]), _text(row["resource"])
        if any(promise.start > (total or 0) for promise in promised):
            return None
        hint, digest = _version(row["hint"]), _text(row["digest"])
        locked = row.get("locked") is True
        return Sidecar(_text(row["track"]), *versions, total, boot, resource, hint, promised, digest, locked)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def rescuable(path: Path) -> Sidecar | None:
    """Return what is known of the bytes at `path` if they can be resumed although nobody gave them back."""
    sidecar = read_sidecar(sidecar_of(path))
    return sidecar if sidecar is not None and sidecar.resumable and sidecar.boot == boot_id() != "" else None


def track_name(address: str) -> str:
    """Return what the names of a track's files begin with."""
    from hashlib import blake2b  # it takes OpenSSL with it

    return blake2b(address.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def claimed_anew(path: Path) -> Path:
    """Return a path that no other bytes of the same track have, for who claims those at `path`."""
    return path.with_name(_unique(path.name.partition(".")[0]))


def begun_anew(folder: Path, address: str) -> Path:
    """Return a path that no other bytes of a track have, for who begins them."""
    return folder / _unique(track_name(address))


def _unique(track: str) -> str:
    """Return a name that tells this boot from others, since bytes that came at once have no sidecar."""
    return f"{track}.{_boot_mark()}{uuid4().hex[_MARK:]}.work"


def is_of_this_boot(path: Path, known: Sidecar | None) -> bool:
    """Return whether bytes, of which that is `known`, were claimed on this machine since it was started."""
    named = path.name.partition(".")[2].startswith(_boot_mark()) if known is None else known.boot == boot_id()
    return named and boot_id() != ""


def _boot_mark() -> str:
    return track_name(boot_id())[:_MARK]


def remove_bytes(path: Path) -> None:
    """Remove bytes, and what is known of them. Raise FileNotFoundError when they are gone: somebody claimed both."""
    path.unlink()
    sidecar_of(path).unlink(missing_ok=True)


def sidecar_of(path: Path) -> Path:
    """Return where the sidecar of the bytes at `path` is."""
    return path.with_suffix(".json")


def is_partial(path: Path) -> bool:
    """Return whether a file has the name of a partial's bytes; what is called otherwise is somebody else's."""
    return _BYTES.fullmatch(path.name) is not None


def is_plain(path: Path) -> bool:
    """Return whether writing to a file, and to what is known of it, would write nothing elsewhere."""
    with suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode) and not sidecar_of(path).is_symlink()
    return False


def _version(value: Any) -> Version | None:  # noqa: ANN401 - whatever JSON holds
    if value is None:
        return None
    kind, text = value
    return Version(VersionKind(kind), _text(text))


def _text(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(value, str):
        raise TypeError
    return value


def _total(value: Any) -> int | None:  # noqa: ANN401 - whatever JSON holds
    if value is not None and (type(value) is not int or value < 0):
        raise TypeError
    return value
