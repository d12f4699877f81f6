"""What a tenant's recordings said before: keys, and the cache behind them, for the time of one recording.

A key covers all that the engine sees and nothing else, under a secret of the tenant's: whoever reads
the cache's names, or shares its server, cannot tell whether a recording he holds was heard here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
from dataclasses import asdict
from typing import TypeVar

from whisper_lambda.audio.identity import Identity
from whisper_lambda.errors import StorageFailed, StorageFull
from whisper_lambda.ports import SegmentCache
from whisper_lambda.types import Chunk, ChunkResult, LanguageGuess, Options, Outline, Remembered

T = TypeVar("T", ChunkResult, LanguageGuess, Outline)

log = logging.getLogger(__name__)


class Recall:
    """One tenant's view of a cache. Without a cache nothing is known and nothing kept."""

    def __init__(
        self, cache: SegmentCache | None = None, tenant: str = "", *, most_s: float = math.inf
    ) -> None:
        """Read the tenant's secret; where that fails, do without the cache.

        Args:
            cache: what is remembered; None = nothing.
            tenant: whose view it is.
            most_s: of a longer recording nothing is known: it is decoded, and refused by that.
        """
        self._cache = cache
        self._tenant = tenant
        self._most_s = most_s
        self._secret = b""
        if cache is not None:
            try:
                self._secret = cache.secret(tenant)
            except (StorageFailed, StorageFull) as failure:
                log.warning("nothing is taken from the segment cache: %s", failure)
                self._cache = None

    def of_chunk(self, chunk: Chunk, options: Options, version: str) -> str | None:
        """Return the key of what the chunk says; None where it is not to be remembered.

        The chunk's place is left out, so a jingle is found again wherever it is played. A temperature
        above 0 asks for a sample: the next call is to give another.
        """
        if options.temperature > 0:
            return None
        return self._key("chunk", version, options, str(chunk.unsure), chunk.samples.tobytes())

    def of_language(self, chunk: Chunk, options: Options, version: str) -> str | None:
        """Return the key of the language heard in a chunk."""
        return self._key(
            "language", version, Options(languages=options.languages), "", chunk.samples.tobytes()
        )

    def of_recording(self, identity: Identity | None, options: Options, version: str) -> str | None:
        """Return the key of how a recording was cut; None where it is not to be remembered."""
        if identity is None or options.temperature > 0:
            return None
        return self._key("outline", version, options, "", identity.digest)

    def known(self, key: str | None, kind: type[T]) -> T | None:
        """Return what is remembered under the key, if it is of that kind."""
        if self._cache is None or key is None:
            return None
        value = self._cache.get(self._tenant, key)
        if isinstance(value, Outline) and value.duration > self._most_s:
            return None
        return value if isinstance(value, kind) else None

    def keep(self, key: str | None, value: Remembered) -> None:
        """Remember a value."""
        if self._cache is not None and key is not None:
            self._cache.put(self._tenant, key, value)

    def _key(self, kind: str, version: str, options: Options, more: str, content: bytes) -> str | None:
        if self._cache is None:
            return None
        said = json.dumps([kind, version, asdict(options), more], sort_keys=True)
        digest = hmac.new(self._secret, said.encode(), hashlib.sha256)
        digest.update(b"\0")  # JSON holds none: what is said ends here
        digest.update(content)
        return digest.hexdigest()


NOTHING = Recall()
