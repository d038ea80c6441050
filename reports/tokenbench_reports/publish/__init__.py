"""The command that publishes runs as a leaderboard, once it has checked their numbers."""
