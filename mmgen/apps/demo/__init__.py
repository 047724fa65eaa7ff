"""What `mmgen demo` does: the whole way from data to a page, in a given time."""
