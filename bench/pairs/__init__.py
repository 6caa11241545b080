"""Parts of the bench of combinations; `bench/combinations.py` runs them."""
