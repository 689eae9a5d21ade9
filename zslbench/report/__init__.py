"""What people read: summaries, tables, published numbers."""
