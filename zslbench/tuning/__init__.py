"""Tuning: searches over hyper-parameters on validation classes, and what picking on test images would have gained."""
