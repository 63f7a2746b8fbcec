"""Sums: forecasts of regions, their parents and the total that add up on every day. Numpy first, Spark around it."""
