"""Public benchmarks: lmms-eval's tasks under TokenBench's loop, and TokenBench as a model of lmms-eval.

lmms-eval has the data sets, prompts and scorers; `library.py` is the only module that imports it for a run, and only
when a task is asked for. The loop, the store and the statistics are TokenBench's.
"""
