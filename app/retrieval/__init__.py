"""Parts of the retrieval page."""
