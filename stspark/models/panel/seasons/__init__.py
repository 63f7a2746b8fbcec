"""A wandering level and seasons that the regions share: columns, solver, errors of earlier forecasts."""
