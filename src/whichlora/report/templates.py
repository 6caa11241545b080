"""Fills HTML templates with everything escaped. The one place where text becomes markup."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import nh3
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup

from whichlora.report import words

ASSETS = Path(__file__).parent / "assets"
"""Style, scripts and templates that belong to the page."""

_CARD_TAGS = {"p", "em", "strong", "code", "ul", "ol", "li", "br", "a", "blockquote", "pre"}


def render(template: str, **values: Any) -> Markup:
    """Fill a template given as text; every value is escaped unless it is `Markup` already."""
    return Markup(_compiled(template).render(**values))


def render_file(name: str, **values: Any) -> str:
    """Fill a template of assets/templates."""
    return _environment().get_template(name).render(**values)


def card(text: str) -> Markup:
    """Turn a model card's words (hostile Markdown) into a few harmless tags; no picture, no script, no style."""
    dirty = MarkdownIt("commonmark", {"html": False}).render(words.clean(text))
    return Markup(nh3.clean(
        dirty, tags=_CARD_TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
    ))


@cache
def _compiled(template: str) -> Template:
    return _environment().from_string(_PREAMBLE + template)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ASSETS / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_finalize,
    )
    environment.filters.update(
        percent=words.percent, interval=words.interval, points=words.points, shift=words.shift, estimate=words.estimate,
        figure=words.figure, mean=words.mean, seconds=words.seconds, gib=words.gib, spoken=words.spoken,
        shorten=words.shorten, card=card, count=words.count, fault=words.fault, chance=words.chance,
    )
    environment.globals.update(
        STATE_WORDS=words.STATE_WORDS, STATE_MARKS=words.STATE_MARKS, LIMIT_WORDS=words.LIMIT_WORDS,
        NOT_MEASURED=words.NOT_MEASURED,
    )
    return environment


def _finalize(value: Any) -> Any:
    """Remove control characters and lone surrogates from everything that is printed."""
    return words.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_PREAMBLE = '{% import "macros.html" as m with context %}'
