"""Ways forward from a comparison: data sets, trainer settings, workflows, scripts, bundles.

Everything here reads what was stored and writes into a folder of its own; nothing is generated, scored or decided.
"""
