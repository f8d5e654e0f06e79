"""Formats of mixes: each reader makes a Mix of a Document, or raises MixError.

A reader is a callable under the entry point ``exporter_plugin.mix_readers``, named by the extension of the files that
it reads, in lower case and without a dot. Ours are registered in the same way.
"""
