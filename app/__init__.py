"""What the pages are made of and what they share: cached reads of core, figures, thumbnails."""
