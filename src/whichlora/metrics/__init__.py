"""Metrics: one file each under `metrics/<axis>/<name>.py`; the path is the name. See `base.py` for the contract."""
