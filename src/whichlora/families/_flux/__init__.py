"""Parts shared by the FLUX families; the plug-ins are `families/flux_kontext.py` and `families/flux2.py`."""
