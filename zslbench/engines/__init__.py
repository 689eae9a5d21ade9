"""Engines: where runs execute. They are simple; the store coordinates, so a lost worker costs only one run."""
