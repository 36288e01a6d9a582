"""The first page: a quick start, scores at a glance, recent runs and the data sets."""
