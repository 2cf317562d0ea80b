"""What several tests share: models, toys, oracles, child processes."""
