"""Runs that wait for a process to train them."""
