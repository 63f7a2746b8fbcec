"""What a series and a map of them look like before any model: tests, each with statistic, p-value and a verdict."""
