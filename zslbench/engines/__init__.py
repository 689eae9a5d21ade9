"""Engines: where runs execute. They are dumb; the store coordinates, so that a lost worker costs one run."""
