"""What a plug-in author writes against.

Strategies, backbones, suites, report formats, executors, budgets, and the hooks that register them.
"""
