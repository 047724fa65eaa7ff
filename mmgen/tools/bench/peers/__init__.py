"""Models of other packages with the weights of ours, so that both sides compute the same."""
