"""Runs that wait to be trained."""
