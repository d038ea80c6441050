"""Tables of one's own as tasks: files with a row for each question, `tokenbench run --suite mine.csv`."""
