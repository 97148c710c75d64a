"""Cartesia's voice for sentences that are recorded beforehand: a plain request, for workers, which have no loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httpx
from cartesia import Cartesia

from calls import metrics
from calls.breakers import UNGUARDED
from calls.providers.cartesia.client import language_code
from calls.providers.cartesia.errors import VENDOR_EXCEPTIONS, classify

if TYPE_CHECKING:
    from calls.breakers import Breaker
    from calls.conf import CartesiaConf

_TIMEOUT_S = 15.0


class PhraseVoice:
    """Renders one sentence at a time. The SDK's own retries are off: whoever asks knows what a retry is worth."""

    def __init__(self, conf: CartesiaConf, breaker: Breaker = UNGUARDED) -> None:
        self._conf = conf
        self._breaker = breaker
        self._sdk = Cartesia(
            api_key=conf.api_key,
            base_url=conf.base_url,
            max_retries=0,
            timeout=httpx.Timeout(_TIMEOUT_S, connect=conf.connect_timeout_ms / 1000),
        )

    def render(self, text: str, voice: str, language: str) -> bytes:
        """The sentence as raw µ-law 8 kHz. Raises ``VendorError``, at once while the breaker is open."""
        with self._breaker.admit():
            try:
                answer = self._sdk.tts.generate(
                    model_id=self._conf.tts_model,
                    transcript=text,
                    voice={"id": voice},
                    language=cast("Any", language_code(language)),  # whether it speaks it, the vendor says
                    output_format={"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
                )
                audio = answer.read()
            except VENDOR_EXCEPTIONS as error:
                failed = classify(error)
                metrics.vendor_failed("cartesia.tts", failed.kind)
                raise failed from error
        return audio

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()
