"""The first page: a quick start, and what has been found so far."""
