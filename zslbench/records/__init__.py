"""Records: what is kept of runs and searches, and the store that keeps it."""
