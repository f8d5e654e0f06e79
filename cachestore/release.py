"""Which release this is. The package's metadata take it from here, since asking them takes as long as all else."""

from __future__ import annotations

RELEASE = "0.1.0"
