"""One fetch: decide what each track needs, let workers ask the servers, publish what they bring."""
