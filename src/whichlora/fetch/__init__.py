"""Fetch what a project needs, and only that: reuse what is on disk by hash, resume what was cut, verify everything.

`wanted` says which files, `reuse` what is here already, `download` gets the rest into the Hub's own cache.
"""
