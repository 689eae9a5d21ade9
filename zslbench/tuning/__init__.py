"""Tuning: searches over hyper-parameters on validation classes, and the gain of choosing on test images instead."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")  # it would have bars of its own in a notebook
    import optuna as optuna
