"""The rows of the index as typed values, read without writing a byte."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from cachestore.boot import boot_id
from cachestore.index.reader import parsed
from cachestore.rows import BLOBS, BUNDLES, ENTRIES, META, STAMPS, Home, Known, MetaRow, get_as, seen_row
from cachestore.runs import is_alive
from cachestore.store.drafts import Draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cachestore.entry import Entry
    from cachestore.index.reader import IndexReader
    from cachestore.root import Root
    from cachestore.rows import BlobRow, Bundle, SeenRow, StampsRow, Table

T = TypeVar("T")


class RowsReader:
    """What the index says; one thread only. A damaged row hides only itself."""

    def __init__(self, root: Root, index: IndexReader) -> None:
        self.root = root
        self._reader = index

    def draft(self) -> Draft:
        """Return a draft of changes of rows as they are now."""
        return Draft(self._reader)

    def entries_of(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Return by key the entries of those of `keys` that have one; the pins of tracks are not resolved."""
        return self.get_many(ENTRIES, keys)

    def blob_rows(self) -> Iterator[tuple[str, BlobRow]]:
        """Yield digest and row of every blob that the index knows."""
        return self.scan(BLOBS)

    def blob_rows_of(self, digests: Iterable[str]) -> dict[str, BlobRow]:
        """Return the blob rows of those of `digests` that have one."""
        return self.get_many(BLOBS, digests)

    def bundle(self, bundle_id: str) -> Bundle | None:
        """Return a registered bundle."""
        return self.get(BUNDLES, bundle_id)

    def stamps(self, bundle_id: str) -> StampsRow | None:
        """Return what the last look at a bundle saw."""
        return self.get(STAMPS, bundle_id)

    def meta(self) -> MetaRow:
        """Return the store's own row; a damaged one says nothing."""
        return self.get(META) or MetaRow()

    def is_moved(self) -> bool:
        """Return whether the store was copied or moved since: its rows tell of other files and of others' runs."""
        home = self.meta().home
        return home is not None and home.is_left_for(self.home())

    def home(self) -> Home:
        """Return where the store is now."""
        info, made_ns = self.root.path.stat(), 0
        with suppress(OSError):
            made_ns = self.root.tag.stat().st_ctime_ns
        return Home(boot_id(), info.st_dev, info.st_ino, made_ns)

    def is_alive(self, run_id: str) -> bool:
        """Return whether a run lives."""
        return is_alive(self.root.runs, run_id)

    def count_blobs(self, after: int = 0) -> int:
        """Return how many blobs have a row behind the number `after`."""
        return self._reader.count(BLOBS.prefix, after)

    def tagged_as_pins(self) -> set[str]:
        """Return the index keys of the rows by which pins are found."""
        return {*self._reader.pins()}

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See the rows within the block as they are at its first read, whatever is written meanwhile."""
        with self._reader.snapshot():
            yield

    def scan(self, table: Table[T]) -> Iterator[tuple[str, T]]:
        """Yield name and value of the sound rows of a table: a damaged row hides only itself."""
        return table.values(self._reader.scan(table.prefix))

    def names(self, table: Table[T]) -> Iterator[str]:
        """Yield the names of all rows of a table, sound or not."""
        return self._reader.names(table.prefix)

    def existing(self, table: Table[T], names: Iterable[str]) -> set[str]:
        """Return those of `names` that have a row in a table, sound or not."""
        return {table.name(key) for key in self._reader.existing(map(table.key, names))}

    def get(self, table: Table[T], name: str = "") -> T | None:
        """Return the named row of a table, None if there is none or it is damaged."""
        return get_as(self._reader, table, name)

    def get_many(self, table: Table[T], names: Iterable[str]) -> dict[str, T]:
        """Return by name the sound ones of the named rows of a table."""
        return dict(table.values(self._reader.each(map(table.key, names))))

    def known(self, table: Table[T], names: Iterable[str]) -> Iterator[tuple[str, Known[T]]]:
        """Yield the sound ones of the named rows of a table with their text, for `Draft.know`."""
        for key, text in self._reader.texts(map(table.key, names)):
            row = parsed(text)
            if row is not None and (value := table.value(key, row)) is not None:
                yield table.name(key), Known(text, value)

    def last_row(self) -> int:
        """Return the number of the row that was written last, 0 when there is none."""
        return self._reader.last()

    def state(self) -> int:
        """Return a number that is another one after anybody else has written to the index."""
        return self._reader.state()

    def pages(self, after: int, last: int) -> Iterator[list[SeenRow]]:
        """Yield the rows behind the number `after`, up to `last`, as they were first written, page by page."""
        for page in self._reader.pages(after, last):
            yield [seen_row(found) for found in page]

    def check_index(self) -> None:
        """Read all of the index. Raise IndexDamaged when it is no sound database."""
        self._reader.check()
