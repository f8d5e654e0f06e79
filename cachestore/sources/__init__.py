"""Sources: each turns a track into its origin, the URL and headers to ask with.

base       what a source is
http       a URL template and headers
template   URLs with {id} in them
options    reading what the configuration says
url        bare URLs
registry   the source of a track, by the configuration; third parties by the entry point group `cachestore.sources`
"""
