"""A run: what it consists of, and how its work is done, batch by batch."""
