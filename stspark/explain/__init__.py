"""Explanations: what a forecast is made of, in numbers that add up to it. Numpy first, then Spark."""
