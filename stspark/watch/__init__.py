"""Watch: do the days that have come still agree with the forecasts that were made for them? Numpy first, then Spark."""
