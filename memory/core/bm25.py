"""BM25 over texts that come and go, each with words of two weights: those in it and those just before it. Pure.

Sources: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009 (section 3.6 for weighted
streams of words); the rarity that is never negative is that of Lucene.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

#: A word asked twice counts twice, and no more often.
_MOST_TIMES = 2


class Words:
    """The words of numbered places. ``saturation`` is BM25's k1, ``length_discount`` its b."""

    def __init__(self, saturation: float, length_discount: float, before_weight: float) -> None:
        self._saturation = saturation
        self._discount = length_discount
        self._before_weight = before_weight
        self._postings: dict[str, tuple[array[int], array[float]]] = {}
        self._documents: Counter[str] = Counter()
        self._of_place: dict[int, tuple[str, ...]] = {}
        self._lengths: array[float] = array("f")
        self._total_length = 0.0

    def append(self, own: Iterable[str], before: Iterable[str]) -> None:
        """Add the next place with its own tokens and those just before it."""
        place = len(self._lengths)
        weights: dict[str, float] = {word: float(times) for word, times in Counter(own).items()}
        for word, times in Counter(before).items():
            weights[word] = weights.get(word, 0.0) + self._before_weight * times
        for word, weight in weights.items():
            found = self._postings.get(word)
            if found is None:
                found = self._postings[word] = (array("i"), array("f"))
            found[0].append(place)
            found[1].append(weight)
        self._documents.update(weights.keys())
        self._of_place[place] = tuple(weights)
        length = sum(weights.values())
        self._lengths.append(length)
        self._total_length += length

    def remove(self, place: int) -> None:
        """Count the words of a place no longer; its score is without meaning from now on."""
        self._documents.subtract(self._of_place.pop(place))
        self._total_length -= self._lengths[place]

    def holding(self, words: Iterable[str]) -> set[int]:
        """The places that have every one of these words of their own; none for no words."""
        found: set[int] | None = None
        for word in words:
            places, weights = self._postings.get(word, ((), ()))
            has = {
                place for place, weight in zip(places, weights, strict=True) if weight >= 1 and place in self._of_place
            }
            found = has if found is None else found & has
        return found or set()

    def shares(self, asked: Sequence[str]) -> NDArray[np.float32]:
        """For every place, the share 0 to 1 that its BM25 has of the highest that these tokens could reach here.

        A word that nobody said counts as the rarest: a question that is half about unknown things reaches half.
        """
        scores = np.zeros(len(self._lengths), dtype=np.float32)
        count = len(self._of_place)
        mean_length = self._total_length / count if self._total_length > 0 else 1.0
        all_lengths = np.frombuffer(self._lengths, dtype=np.float32) if self._lengths else scores
        highest = 0.0
        for word, times in Counter(asked).items():
            documents = self._documents[word]
            rarity = float(np.log1p((count - documents + 0.5) / (documents + 0.5))) * min(times, _MOST_TIMES)
            highest += rarity * (self._saturation + 1)
            if documents:
                places = np.frombuffer(self._postings[word][0], dtype=np.int32)
                weights = np.frombuffer(self._postings[word][1], dtype=np.float32)
                length = 1 - self._discount + self._discount / mean_length * all_lengths[places]
                scores[places] += rarity * (self._saturation + 1) * weights / (weights + self._saturation * length)
        return scores / np.float32(highest) if highest else scores
