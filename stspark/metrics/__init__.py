"""Errors, coverage and sharpness of forecasts: definitions, slices, and the long table of their values."""
