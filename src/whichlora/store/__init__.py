"""The store: one SQLite file and content-addressed images per project. All SQL of the product lives here."""

from whichlora.store.store import Store
from whichlora.store.votes import VoteRow

__all__ = ["Store", "VoteRow"]
