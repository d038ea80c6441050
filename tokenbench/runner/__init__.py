"""A run: what it consists of, and the work done batch by batch."""
