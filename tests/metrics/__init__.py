"""Metric tests and what they share: real photographs, damage, rendered figures."""
