"""Model families: load, encode, denoise, decode. See `base.py` for the contract."""
