"""Evaluation: protocols, metrics, the seen-unseen curve, calibration, uncertainty."""
