"""Parts of the report, one file each; `base.py` holds the contract."""
