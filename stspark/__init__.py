"""stspark: demand by region and day on Apache Spark, from raw events to forecasts in Delta Lake."""

__version__ = "0.1.0"
