"""Error rates and coverage of the product's own decisions, on made-up data with a known truth."""
