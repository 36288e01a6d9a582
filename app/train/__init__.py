"""The Train page: the form, the list of runs, live curves."""
