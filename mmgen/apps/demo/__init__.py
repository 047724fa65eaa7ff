"""What `mmgen demo` does: commands that anyone could type, in a given time, and a page of what they left."""
