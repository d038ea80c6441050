"""Finds plug-ins, and reads the names that users write."""
