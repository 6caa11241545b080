"""Turns stored findings into a page, a document, tables and plots. Computes no figure of its own."""
