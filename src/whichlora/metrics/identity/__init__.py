"""Is it still the same character?"""
