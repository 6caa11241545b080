"""Unwanted zoom, shift and colour change of the whole picture."""
