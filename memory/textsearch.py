"""The words side of PostgreSQL: how a text is indexed, and how it is asked for."""

from __future__ import annotations

import re
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import Value

if TYPE_CHECKING:
    from django.contrib.postgres.search import CombinedSearchQuery
    from django.db.models.expressions import Combinable

#: PostgreSQL indexes at most a megabyte of a row.
MOST_CHARS = 100_000
_MOST_WORDS = 64
#: Text-search configurations by language; others are indexed word for word.
_CONFIGURATIONS = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "pt": "portuguese",
}
_WORD = re.compile(r"\w+")


def config(locale: str) -> str:
    """The configuration of a locale such as ``en-GB``."""
    return _CONFIGURATIONS.get(locale.partition("-")[0].casefold(), "simple")


def vector(text: str, before: str = "", locale: str = "en") -> Combinable:
    """What a text is found by: its own words weigh A, those said just before it D."""
    own = SearchVector(Value(searchable(text)), weight="A", config=config(locale))
    return own + SearchVector(Value(searchable(before)), weight="D", config=config(locale)) if before else own


def any_word(text: str, locale: str = "en") -> SearchQuery | None:
    """Finds what has any of these words (all of them at once is the default that finds nothing). ``None`` for none."""
    words = list(dict.fromkeys(_WORD.findall(searchable(text).casefold())))[:_MOST_WORDS]
    if not words:
        return None
    return SearchQuery(" | ".join(f"'{word}'" for word in words), config=config(locale), search_type="raw")


def words_of_any_locale(text: str, *, every: bool = False) -> SearchQuery | CombinedSearchQuery | None:
    """The same for rows whose language is not known: finds what has any of the words itself (``every``: all of them), not in
    what was said before it, as each language indexes them. ``None`` for no words.
    """
    words = list(dict.fromkeys(_WORD.findall(searchable(text).casefold())))[:_MOST_WORDS]
    if not words:
        return None
    raw = (" & " if every else " | ").join(f"'{word}':A" for word in words)
    queries = [SearchQuery(raw, config=name, search_type="raw") for name in ("simple", *_CONFIGURATIONS.values())]
    return reduce(or_, queries)


def searchable(text: str) -> str:
    """``text`` as PostgreSQL can take it: no NUL, no lone surrogate, bounded."""
    return text[:MOST_CHARS].replace("\x00", " ").encode("utf-8", errors="replace").decode("utf-8")
