"""What is in a prepared data set: the parts of the data page below the list of data sets."""
