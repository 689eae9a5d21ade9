"""The shared trainer: everything around a method's loss."""
