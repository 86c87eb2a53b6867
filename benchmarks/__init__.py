"""Measurements, each run by itself."""
