"""The command that publishes runs as a leaderboard, once it has recomputed every number of theirs."""
