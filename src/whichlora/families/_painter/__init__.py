"""Parts of the weightless painter; the plug-in itself is `families/painter.py`."""
