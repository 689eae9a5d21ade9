"""Data on disk: the xlsa17 reader, its cache, the split audit, downloads, feature scaling."""
