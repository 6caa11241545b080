"""whichlora: which image-editing LoRA keeps my character, or must I train my own?

Importing this package is cheap: no torch, no model, no network.
"""

__version__ = "0.1.0"
