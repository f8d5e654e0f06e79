"""The store: index and blobs together. The only rooms in which a row and a blob change at once."""
