"""Formats of mixes: each reader makes a Mix of a Document, or raises MixError."""
