"""How much work a row is: `full` is that of the goals, `small` tells in minutes whether a change helps."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Lot:
    """Some files of one size, a multiple of four: they are of stereo frames."""

    files: int
    size: int

    @property
    def bytes(self) -> int:
        """All of them."""
        return self.files * self.size

    def __str__(self) -> str:
        size = f"{self.size // MB} MB" if self.size >= MB else f"{self.size // 1024} KB"
        return f"{self.files:,} x {size}"


@dataclass(frozen=True, slots=True)
class Scale:
    """The numbers of one scale."""

    name: str
    large: Lot
    medium: Lot
    tiny: Lot
    asked: int
    warm: tuple[int, int]
    entries: int
    pruned: int
    verified: Lot
    growth: tuple[int, ...]


FULL = Scale(
    name="full",
    large=Lot(50, 10 * MB),
    medium=Lot(300, MB),
    tiny=Lot(2000, 16 * 1024),
    asked=1000,
    warm=(1000, 10_000),
    entries=100_000,
    pruned=100_000,
    verified=Lot(100, 10 * MB),
    growth=(1000, 10_000, 100_000),
)
SMALL = Scale(
    name="small",
    large=Lot(8, 10 * MB),
    medium=Lot(60, MB),
    tiny=Lot(300, 16 * 1024),
    asked=200,
    warm=(100, 1000),
    entries=2000,
    pruned=2000,
    verified=Lot(20, 10 * MB),
    growth=(300, 1000, 3000),
)
SCALES = {scale.name: scale for scale in (FULL, SMALL)}
