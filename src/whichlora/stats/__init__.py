"""Estimators on plain arrays: rates, differences, multiplicity, power, screening, ratings.

Pure numpy and scipy, one module an estimator. No files, no store, no knowledge of LoRAs. The photograph is the
independent unit everywhere; see `docs/decisions/0003-photographs-are-the-unit.md`.
"""
