"""Sources: each turns a track into its origin, the URL and headers to ask with.

base          what a source is
account       a source as one run uses it
checked       what a source returned, field by field
echoes        what metadata says back of credentials
crew          threads that ask sources, and all that they ask with
registry      the account of a track, by the configuration; third parties by the entry point group `cachestore.sources`
http          URLs from a template, or from a document, and headers
stream        where a document says that a stream is
credentials   headers, some of them printed by a command
command       running that command
pointer       taking values out of a document
subsonic      servers of the Subsonic API
url           bare URLs
template      URLs with {id} in them
secret_urls   variables in URLs, and whether a URL carries a secret of the options
subjects      what a request for playlists is about
options       reading what the configuration says
"""
