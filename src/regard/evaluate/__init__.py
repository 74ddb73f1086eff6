"""Accuracy that anyone can check: evaluations, fairness, calibration, reports, and the cards that cite them."""
