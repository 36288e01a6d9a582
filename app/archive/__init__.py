"""Parts of the archive page."""
