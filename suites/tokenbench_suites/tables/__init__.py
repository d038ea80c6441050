"""Tables of one's own as tasks, from a file or from the Hugging Face hub: `tokenbench run --suite mine.csv`."""

from tokenbench_suites.tables.task import TableTask

__all__ = ["TableTask"]
