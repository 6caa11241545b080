"""Blind human judgement: which pictures to show, what people said, and what follows from it. No HTTP, no SQL."""
