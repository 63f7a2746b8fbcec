"""What each check advises, and how much it counts. No Spark."""

from __future__ import annotations

OVERALL = "overall"
OK, RETRAIN, RECALIBRATE, LOOK = "ok", "retrain", "recalibrate", "look at the data"
VERDICTS = {
    "bias": RETRAIN,
    "error": RETRAIN,
    "cusum": RETRAIN,
    "page_hinkley": RETRAIN,
    "coverage": RECALIBRATE,
    "missing": LOOK,
    "silence": LOOK,
    "input_drift": LOOK,
}
"""What each check advises where it stands out."""
WEIGHTS = {
    "bias": 0.35,
    "error": 0.15,
    "cusum": 0.1,
    "page_hinkley": 0.05,
    "coverage": 0.1,
    "missing": 0.1,
    "silence": 0.1,
    "input_drift": 0.05,
}
"""Share of a region's false alarms that each check may raise. Bias has most: it shows a changed market first; lost and
silent days show at any weight; CUSUM, Page-Hinkley and the absolute error see much of what bias sees."""
FAMILY_WEIGHTS = {"sum": 0.4, "held": 0.15, "regions": 0.45}
"""The same for a family: the bias of its sum, the coverage of all its intervals, its regions one by one."""
