"""Figures of merit, in NumPy on the host, from per-film scores."""
