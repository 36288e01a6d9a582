"""Losses, data, training, retrieval and metrics; imported by the app and the command line alike."""
