"""The network of a run: backbone and head, their weights, what they look at, and their export."""
