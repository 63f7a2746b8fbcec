"""From many forecasts to one: weights, calibration and the choice of each region's champion. Learnt from back-tests."""
