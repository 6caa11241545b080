"""How figures and names are put into words. Pure functions from values to text, shared by every output.

A missing figure is always 'not measured', never a zero and never an empty place.
"""

from __future__ import annotations

import math
import re
import unicodedata

from whichlora.findings import Estimate, State, fault_words

NOT_MEASURED = "not measured"
"""Stands wherever a figure is missing."""

STATE_WORDS: dict[State, str] = {"PASS": "reaches the target", "FAIL": "misses the target", "OPEN": "still open"}
"""What a state says, in a sentence's end."""

LIMIT_WORDS: dict[State, str] = {
    "PASS": "within your limit", "FAIL": "beyond your limit", "OPEN": "not measured against your limit",
}
"""The same for a limit of time or memory."""

STATE_MARKS: dict[State, str] = {"PASS": "✓", "FAIL": "✗", "OPEN": "?"}
"""The state as one sign; always accompanied by words for screen readers."""

_REVERSALS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Direction overrides: they can make 'gpj.exe' read as 'exe.jpg'."""
_PERMISSIVE = re.compile(r"^(apache-2\.0|mit|bsd(-[23]-clause)?|cc0-1\.0|cc-by-4\.0|unlicense|isc)$")
_RESTRICTED = re.compile(r"(non-?commercial|\bnc\b|-nc-|-nc$|research)", re.IGNORECASE)


def clean(text: object) -> str:
    """Make any text safe to write: no controls, no lone surrogates, no reversal of direction (they become U+FFFD)."""
    return "".join(_visible(char) for char in str(text))


def _visible(char: str) -> str:
    if char in "\n\t":
        return char
    return "\ufffd" if unicodedata.category(char) in {"Cc", "Cs"} or char in _REVERSALS else char


def percent(rate: float | None) -> str:
    """Write a rate (0 to 1) as whole percent; only a true 0 prints '0%' and only a true 1 prints '100%'."""
    if rate is None or not math.isfinite(rate):
        return NOT_MEASURED
    whole = math.floor(rate * 100 + 0.5)
    if whole == 0 and rate > 0:
        return "under 1%"
    return "over 99%" if whole == 100 and rate < 1 else f"{whole}%"


def chance(probability: float | None) -> str:
    """Write a probability that was counted over draws as percent: none is certain, so never '0%' or '100%'."""
    if probability is None or not math.isfinite(probability):
        return NOT_MEASURED
    whole = math.floor(probability * 100 + 0.5)
    return "under 1%" if whole <= 0 else "over 99%" if whole >= 100 else f"{whole}%"


def interval(low: float | None, high: float | None) -> str:
    """Write a range of rates as '58–93%', or 'not measured' when an end is missing."""
    if low is None or high is None:
        return NOT_MEASURED
    return f"{math.floor(low * 100 + 0.5)}–{math.floor(high * 100 + 0.5)}%"


def points(difference: Estimate | None) -> str:
    """Write a paired difference to base as '+12 points [+3, +20]'."""
    if difference is None or difference.value is None:
        return NOT_MEASURED
    text = f"{_signed(difference.value)} points"
    if difference.low is not None and difference.high is not None:
        text += f" [{_signed(difference.low)}, {_signed(difference.high)}]"
    return text


def shift(difference: Estimate | None) -> str:
    """Write a paired difference for a table whose head names the unit: '+12 [+3, +20]'."""
    return points(difference).replace(" points", "")


def _signed(difference: float) -> str:
    whole = math.floor(abs(difference) * 100 + 0.5)
    return f"{'−' if difference < 0 and whole else '+' if whole else ''}{whole}"


def estimate(value: Estimate) -> str:
    """Write an estimate in full: '81% (74–87% on these photographs, 58–93% on new ones)'."""
    if value.value is None:
        return NOT_MEASURED
    ranges: list[str] = []
    if value.low_here is not None and value.high_here is not None:
        ranges.append(f"{interval(value.low_here, value.high_here)} on these photographs")
    if value.low is not None and value.high is not None:
        ranges.append(f"{interval(value.low, value.high)} on new ones")
    return percent(value.value) + (f" ({', '.join(ranges)})" if ranges else "")


def figure(value: float | None) -> str:
    """Write any other figure with three significant digits and no exponent where it can be avoided."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 6 or size < -4:
        return f"{value:.2e}".replace("-", "−", 1 if value < 0 else 0)
    return f"{value:.{max(0, 2 - size)}f}".replace("-", "−")


def mean(value: float | None) -> str:
    """Write a mean over pictures: as `figure`, but what is nearly nothing as '<0.001'."""
    return "<0.001" if value is not None and 0 < value < 0.001 else figure(value)


def seconds(value: float | None) -> str:
    """Write a duration as '<0.1 s', '0.8 s', '42 s', '7 min' or '3.5 h'."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    if 0 < value < 0.05:
        return "<0.1 s"
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 99.5:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5970 else f"{value / 3600:.1f} h"


def gib(value: float | None) -> str:
    """Write an amount of memory in GiB."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    return f"{value:.2f} GiB" if value < 0.995 else f"{value:.1f} GiB"


def spoken(name: str) -> str:
    """Turn an identifier such as 'slightly-left' or 'identity/figure' into words."""
    return clean(name).replace("/", ": ").replace("-", " ").replace("_", " ")


def fault(kind: str) -> str:
    """Name a failure or artefact in words."""
    return spoken(fault_words(kind))


def count(number: int, noun: str, plural: str = "") -> str:
    """Write '1 picture' or '6 pictures'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def shorten(text: str, longest: int) -> str:
    """Cut a text to `longest` characters, with an ellipsis as its last one."""
    text = " ".join(clean(text).split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def licence_flag(licence: str) -> tuple[str, str]:
    """Judge a licence by its identifier: ('ok' | 'check' | 'restricted', what to do)."""
    name = licence.strip().lower()
    if _PERMISSIVE.match(name):
        return "ok", "Permissive."
    if name in {"", "unknown", "other", "none"}:
        return "check", "No licence is stated: ask its author before you publish or sell anything made with it."
    if _RESTRICTED.search(name):
        return "restricted", "Not for commercial use as it stands."
    return "check", "Read its terms before you publish or sell anything made with it."
