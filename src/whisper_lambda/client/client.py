"""The faces of the client: recordings in, transcripts heard on a server out; blocking, and not.

    with whisper_lambda.Client("https://transcribe.example", key="wl-...") as client:
        print(client.transcribe("talk.wav", language="es").text)

Both work against our server, on a laptop or on Lambda, and against what speaks OpenAI's API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, Unpack

from whisper_lambda.api import OptionKeywords
from whisper_lambda.audio.encode import KBIT_PER_S
from whisper_lambda.client.asking import Asking, Recording, connection, heard, texts
from whisper_lambda.client.steps import Tell
from whisper_lambda.client.wanted import Compress, Written, quiet
from whisper_lambda.transcript.formats import Layout
from whisper_lambda.types import Transcript

if TYPE_CHECKING:
    import httpx2


class Client:
    """A server to have recordings transcribed by. Close it, or use `with`. Safe to use from many threads."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        compress: Compress = "auto",
        kbit_per_s: float = KBIT_PER_S,
        attempts: int = 4,
        http: httpx2.Client | None = None,
    ) -> None:
        """Say where the server is; nothing is sent yet.

        Args:
            url: its address; OpenAI's base_url, which ends in /v1, will do.
            key: an API key of its.
            compress: encode to Opus first: where it helps (auto), always or never.
            kbit_per_s: of the Opus.
            attempts: how often a call is made before it is given up; a retry is never billed twice.
            http: a client of your own making, with its proxies, certificates and time-outs.

        Raises:
            BadOption: no server can be at that address.
        """
        from whisper_lambda.client.carrier import client

        self._connection = connection(url, key, compress, kbit_per_s, attempts)
        self._http = http or client()

    def transcribe(
        self,
        recording: Recording,
        *,
        model: str | None = None,
        budget_usd: float | None = None,
        max_latency_s: float | None = None,
        on_progress: Tell = quiet,
        **options: Unpack[OptionKeywords],
    ) -> Transcript:
        """Return the transcript of one recording, heard on the server.

        Small ones go directly; what is larger, or too long for one request, goes up under a ticket
        and is heard as a job. Ctrl-C ends the job too.

        Args:
            recording: a file of any kind FFmpeg reads, or its bytes.
            model: tier or alias wished for; None = the server's default.
            budget_usd: most it may cost, by the server's estimate; it chooses the tier.
            max_latency_s: most seconds it may take, likewise.
            on_progress: told while the recording is encoded, sent and heard.
            options: as of `whisper_lambda.transcribe`.

        Raises:
            OSError: the file cannot be read.
            BadOption: an option is wrong, and nothing was sent (UnknownLanguage: no such language).
            ServerUnreachable: nobody answers there.
            WhisperLambdaError: what the server said, as the class of its code.
        """
        asking = Asking(model=model, budget_usd=budget_usd, max_latency_s=max_latency_s, tell=on_progress)
        return heard(self.carried(recording, asking, **options))

    def written(
        self,
        recording: Recording,
        formats: Sequence[str],
        *,
        model: str | None = None,
        layout: Layout | None = None,
        budget_usd: float | None = None,
        max_latency_s: float | None = None,
        on_progress: Tell = quiet,
        **options: Unpack[OptionKeywords],
    ) -> dict[str, str]:
        """Return the transcript as the server writes it, by format (text, srt, vtt, ...).

        The arguments beside `formats` and `layout` are those of `transcribe`.
        """
        asking = Asking(
            formats=formats,
            model=model,
            layout=layout,
            budget_usd=budget_usd,
            max_latency_s=max_latency_s,
            tell=on_progress,
        )
        return texts(self.carried(recording, asking, **options))

    def carried(self, recording: Recording, asking: Asking, **options: Unpack[OptionKeywords]) -> Written:
        """Return what the server answers, whole."""
        from whisper_lambda.client.carrier import carry

        talk = self._connection.talk(recording, asking, **options)
        return carry(self._http, self._connection.key, talk, asking.tell)

    def close(self) -> None:
        """Close the connections to the server."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncClient:
    """The same for asyncio: `transcribe` and `written` are awaited, and block nothing."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        compress: Compress = "auto",
        kbit_per_s: float = KBIT_PER_S,
        attempts: int = 4,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        """Say where the server is; see `Client`."""
        from whisper_lambda.client.carrier import async_client

        self._connection = connection(url, key, compress, kbit_per_s, attempts)
        self._http = http or async_client()

    async def transcribe(
        self,
        recording: Recording,
        *,
        model: str | None = None,
        budget_usd: float | None = None,
        max_latency_s: float | None = None,
        on_progress: Tell = quiet,
        **options: Unpack[OptionKeywords],
    ) -> Transcript:
        """Return the transcript of one recording; see `Client.transcribe`.

        Cancelling ends the job too. `on_progress` may be called from another thread while encoding.
        """
        asking = Asking(model=model, budget_usd=budget_usd, max_latency_s=max_latency_s, tell=on_progress)
        return heard(await self.carried(recording, asking, **options))

    async def written(
        self,
        recording: Recording,
        formats: Sequence[str],
        *,
        model: str | None = None,
        layout: Layout | None = None,
        budget_usd: float | None = None,
        max_latency_s: float | None = None,
        on_progress: Tell = quiet,
        **options: Unpack[OptionKeywords],
    ) -> dict[str, str]:
        """Return the transcript as the server writes it; see `Client.written`."""
        asking = Asking(
            formats=formats,
            model=model,
            layout=layout,
            budget_usd=budget_usd,
            max_latency_s=max_latency_s,
            tell=on_progress,
        )
        return texts(await self.carried(recording, asking, **options))

    async def carried(
        self, recording: Recording, asking: Asking, **options: Unpack[OptionKeywords]
    ) -> Written:
        """Return what the server answers, whole."""
        from whisper_lambda.client.carrier import carry_async

        talk = self._connection.talk(recording, asking, **options)
        return await carry_async(self._http, self._connection.key, talk, asking.tell)

    async def aclose(self) -> None:
        """Close the connections to the server."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
