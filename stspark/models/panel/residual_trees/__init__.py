"""Boosted trees on what the shared seasons leave: its features, its targets, the rows to learn from, the model."""
