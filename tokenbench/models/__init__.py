"""Stock models: where they are found, how they are loaded, and how they process prompts and images."""
