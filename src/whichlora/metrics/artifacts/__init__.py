"""Faults of the picture itself, each with a severity and the pixel region that shows it."""
