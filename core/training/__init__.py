"""From a run folder with a configuration to one with curve, weights, test embeddings and scores."""
