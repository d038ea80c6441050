"""A model that rates the stored answers of a run, after it: a pass of its own that can be interrupted and resumed.

In `RUN/judge/<model>-<hash>/` there are::

    verdicts.jsonl            one line for every distinct question, target and answer, as soon as it is there
    samples.parquet           every answer of the run with the judge's score, NaN where there is no verdict
    summary.csv, pairs.csv    the comparison by these scores

The hash is of the judge's name and of what it is asked, so that verdicts of different judges never mix.
"""
