"""Discovery: finding and isolating plugins, the registry that they fill, and methods that are single files."""
