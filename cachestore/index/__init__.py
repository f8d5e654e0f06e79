"""The index: text keys to JSON rows, in the SQLite database of diskcache.

Writing goes through diskcache: its schema, its WAL set-up and its transactions, which are a lock among processes.
Reading goes through a read-only SQLite connection of our own, for three reasons: opening diskcache writes, it cannot
read a range of keys, and it unpickles whatever a row tells it to. Rows that are not plain JSON text are refused,
whoever wrote them.
"""
