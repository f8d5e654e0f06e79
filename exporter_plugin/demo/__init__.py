"""The demo: a small music cloud on this machine, and a mix that is exported twice."""
