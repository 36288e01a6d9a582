"""What a prepared data set holds: the parts of the data page below the list of data sets."""
