"""What a plug-in author writes against: strategies, backbones, suites, report formats, budgets and the hooks that register them."""
