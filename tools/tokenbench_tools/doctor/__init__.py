"""Finds what is wrong with a machine."""
