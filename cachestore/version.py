"""The server's word for one state of the bytes, typed by how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from xxhash import xxh3_64_hexdigest


class VersionKind(StrEnum):
    """What kind of word a version is, from the strongest to our own."""

    STRONG = "etag"
    WEAK = "weak-etag"
    PROVIDER = "provider"
    MODIFIED = "last-modified"
    DESCRIBED = "description"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Version:
    """The server's word for one state of the bytes, verbatim.

    STRONG and WEAK hold the ETag field as sent (quotes and ``W/`` included; RFC 9110 §8.8.3), PROVIDER a version or
    hash of the provider, MODIFIED ``Last-Modified`` and length joined by a space, DESCRIBED what a service's metadata
    says of the bytes (which may confirm them, never more), DIGEST our own digest. `digest` is set when one validator
    arrived with other bytes than before, so that both states have a key of their own.
    """

    kind: VersionKind
    value: str
    digest: str = ""

    @property
    def hex(self) -> str:
        """Return the xxh3-64 of the typed version, 16 hex digits."""
        return xxh3_64_hexdigest(f"{self.kind}\0{self.value}\0{self.digest}".encode())

    def is_named_as(self, other: Version) -> bool:
        """Return whether the server has one word for both; they may be two states of the bytes all the same."""
        return (self.kind, self.value) == (other.kind, other.value)

    def matches(self, pin: str) -> bool:
        """Return whether `pin` names this version: the validator verbatim or the key's hex."""
        return pin in {self.value, self.value.strip('"'), self.hex}
