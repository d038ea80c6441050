"""The run directory: written while a run goes on, read back as data frames."""
