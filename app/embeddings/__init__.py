"""The parts of the embeddings page: which images, where they lie, their colours, and what a lasso finds."""
