"""Parts of the truth lab, one question a module; `bench/truthlab.py` runs them."""
