"""Boosted trees over all regions: features, the rows drawn from them, what is learned of them, the model."""
