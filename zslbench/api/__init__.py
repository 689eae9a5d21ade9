"""The interfaces: what plugin authors subclass and what their methods are handed."""
