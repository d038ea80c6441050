"""What strategies cost, from the sizes of a model alone."""
