"""`python -m tokenbench` is `tokenbench`."""

from tokenbench.cli import main

main()
