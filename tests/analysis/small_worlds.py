"""Planted worlds with one right answer each."""

import numpy as np

from whichlora.analysis.simulate import World

FAMILIES = ("camera", "lighting", "background", "expression")


def world(rows, *, photos=16, seeds=2, icc=0.05, edits=2):
    return World({name: dict(zip(FAMILIES, rates, strict=True)) for name, rates in rows.items()},
                 photos, edits, seeds, icc)


NOTHING = (0.001,) * 4
PLANTED = {
    "base suffices": (world({
        "base": (0.97, 0.96, 0.97, 0.96), "angles": (0.9, 0.9, 0.9, 0.9), "style": (0.4, 0.4, 0.4, 0.4),
        "control:do-nothing": NOTHING}), "existing", "base"),
    "existing": (world({
        "base": (0.5, 0.6, 0.5, 0.5), "angles": (0.96, 0.95, 0.96, 0.95), "style": (0.7, 0.5, 0.6, 0.4),
        "noise": (0.2, 0.1, 0.2, 0.3), "control:do-nothing": NOTHING}), "existing", "angles"),
    "several": (world({
        "base": (0.3, 0.3, 0.3, 0.3), "angles": (0.97, 0.3, 0.95, 0.4), "relight": (0.2, 0.97, 0.3, 0.95),
        "angles+relight": (0.95, 0.96, 0.95, 0.96), "control:do-nothing": NOTHING}), "multi", "angles+relight"),
    "routed": (world({
        "base": (0.3, 0.3, 0.3, 0.3), "angles": (0.97, 0.3, 0.95, 0.4), "relight": (0.2, 0.97, 0.3, 0.95),
        "angles+relight": (0.4, 0.5, 0.4, 0.4)}), "multi", "angles + relight"),
    "hybrid": (world({
        "base": (0.3, 0.3, 0.3, 0.3), "angles": (0.97, 0.97, 0.95, 0.2), "style": (0.2, 0.3, 0.3, 0.25)}),
        "hybrid", "angles"),
    "custom": (world({
        "base": (0.3, 0.3, 0.3, 0.3), "angles": (0.35, 0.4, 0.3, 0.2), "style": (0.2, 0.3, 0.3, 0.25)}),
        "custom", ""),
    "undecided": (world({
        "base": (0.5, 0.5, 0.5, 0.5), "angles": (0.76, 0.7, 0.74, 0.7), "style": (0.7, 0.72, 0.7, 0.68)}, photos=8),
        "undecided", None),
}


def rng(seed=7):
    return np.random.default_rng(seed)
