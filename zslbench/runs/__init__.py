"""Runs: from a request to runs with identities, and one run: fit, measure, record."""
