"""From a query to the images nearest to it, and why they are near."""
