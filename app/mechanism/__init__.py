"""Parts of the mechanism page: its batch, its settings, and its four views."""
