"""The OpenAI API: /v1/audio/transcriptions, translations, detect-language and /v1/models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda.errors import BadOption
from whisper_lambda.http import handing_on, parameters
from whisper_lambda.http.answers import answer, to_json, to_verbose_json
from whisper_lambda.http.asking import facts
from whisper_lambda.http.detecting import detected
from whisper_lambda.http.fields import Field, blamed, schema
from whisper_lambda.http.house import House
from whisper_lambda.http.listening import Wish
from whisper_lambda.http.streaming import Emit, EventStream, Teller, to_event
from whisper_lambda.http.table import Table
from whisper_lambda.http.upload import Upload
from whisper_lambda.languages import to_name
from whisper_lambda.models import catalogue
from whisper_lambda.models.cascade import AUTO
from whisper_lambda.types import Transcript

RELEASED = 1_700_000_000  # `created` of every model: the API wants a number, the tiers have no date


def router(house: House) -> Table:
    """Return the routes below /v1."""
    routes = Table(prefix="/v1", tags=["OpenAI API"])
    transcribing = parameters.transcriptions(house.service)
    translating = parameters.translations(house.service)
    detecting = parameters.detections(house.service)

    @routes.answer("POST", "/audio/transcriptions", openapi_extra=body(transcribing))
    async def transcriptions(request: Request) -> Response:
        """Transcribe a recording."""
        return await _transcription(house, request, transcribing)

    @routes.answer("POST", "/audio/translations", openapi_extra=body(translating))
    async def translations(request: Request) -> Response:
        """Translate a recording into English."""
        return await _transcription(house, request, translating, task="translate")

    @routes.answer("POST", "/audio/detect-language", openapi_extra=body(detecting))
    async def detect_language(request: Request) -> Response:
        """Name the language spoken in a recording."""
        async with house.received(request, detecting) as upload:
            heard, bill = await detected(house, request, upload)
            found, code = heard.transcript, heard.transcript.language
            return JSONResponse(
                {
                    "language": code or None,
                    "language_name": to_name(code) if code else None,
                    "probability": found.language_probability if code else 0.0,
                    "speech_detected": bool(code),
                    "duration": round(found.duration, 3),
                    "x_model": to_json(found, bill)["x_model"],
                    "x_receipt": bill.to_wire(),
                }
            )

    @routes.answer("GET", "/models")
    async def models(request: Request) -> Response:
        """List the models one can ask for."""
        del request
        return JSONResponse({"object": "list", "data": [_model(name) for name in _names(house)]})

    @routes.answer("GET", "/models/{model:path}")
    async def model(request: Request, model: str) -> Response:
        """Describe one model."""
        del request
        if model not in _names(house):
            house.service.router.check(model)  # raises, and says what is near
        return JSONResponse(_model(model))

    return routes


def body(table: list[Field], part: str = "file", *, in_query: bool = False) -> dict[str, Any]:
    """Return what OpenAPI says of a request: a form with the recording, or the recording itself.

    Args:
        table: the fields.
        part: name of the recording's part.
        in_query: whether clients send the fields there; they may in either case.
    """
    raw = {"schema": {"type": "string", "format": "binary"}}
    form = {"schema": schema([] if in_query else table, part)}
    said: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "description": "a form; or the recording itself, with the fields in the query",
            "content": {"multipart/form-data": form, "application/octet-stream": raw},
        }
    }
    if in_query:
        said["parameters"] = [
            {"name": f.wire_name, "in": "query", "description": f.help, "schema": dict(f.kind.schema)}
            for f in table
        ]
    return said


async def _transcription(
    house: House,
    request: Request,
    table: list[Field],
    **more: Any,  # noqa: ANN401 - fields of Options
) -> Response:
    async with AsyncExitStack() as open_until_sent:
        upload = await open_until_sent.enter_async_context(house.received(request, table))
        values = upload.values
        wanted = formats_wanted(values)
        granularities = _granularities(values, wanted)
        times = parameters.times(values, wanted, granularities)
        wish = parameters.wish(values, times, wanted, **more)
        facts(request.scope)["format"] = wanted
        if values.get("stream"):
            return EventStream(_events(house, request, upload, wish, open_until_sent.pop_all()))
        found = await handing_on.heard(house, request, upload, wish, {**values, **more})
        if isinstance(found, Response):
            return found
        heard, bill = found
        write = partial(
            answer,
            wanted,
            told(heard.transcript, values),
            bill,
            layout=parameters.layout(values),
            granularities=granularities,
            logprobs="include" in values,
        )
        return await anyio.to_thread.run_sync(write)  # hours of words take a while to write


def _events(
    house: House, request: Request, upload: Upload, wish: Wish, until_sent: AsyncExitStack
) -> Callable[[Emit], Awaitable[None]]:
    wanted, logprobs = upload.values.get("response_format", "json"), "include" in upload.values

    async def produce(emit: Emit) -> None:
        async with until_sent:
            teller = Teller(emit, told_as=wanted, logprobs=logprobs)
            heard, bill = await house.heard(request, upload, wish, tell=teller)
            transcript = told(heard.transcript, upload.values)
            if wanted == "verbose_json":
                granularities = upload.values.get("timestamp_granularities", [])
                done = await anyio.to_thread.run_sync(to_verbose_json, transcript, bill, granularities)
            else:
                done = to_json(transcript, bill, logprobs=logprobs)
            del done["usage"]  # the SDK knows only the form in tokens here
            await emit(to_event({"type": "transcript.text.done"} | done))

    return produce


def told(transcript: Transcript, values: Mapping[str, Any]) -> Transcript:
    """Return the transcript with warnings of parameters that had no effect."""
    return replace(transcript, warnings=(*transcript.warnings, *parameters.warnings(values)))


def formats_wanted(values: Mapping[str, Any]) -> str:
    """Return the format wanted, refusing what cannot be streamed."""
    wanted: str = values.get("response_format", "json")
    if values.get("stream") and wanted not in parameters.STREAMED:
        allowed = ", ".join(parameters.STREAMED)
        raise blamed(BadOption(f"stream goes with response_format {allowed}, not {wanted}"), "stream")
    if "include" in values and wanted != "json":
        raise blamed(BadOption("include needs response_format=json"), "include")
    return wanted


def _granularities(values: Mapping[str, Any], wanted: str) -> list[str]:
    granularities: list[str] = values.get("timestamp_granularities", [])
    if granularities and wanted != "verbose_json":
        refused = BadOption("timestamp_granularities needs response_format=verbose_json")
        raise blamed(refused, "timestamp_granularities")
    return granularities


def _names(house: House) -> list[str]:
    """Return every name a request may give, what is asked for most first."""
    tiers = [tier.name for tier in catalogue.TIERS]
    return list(dict.fromkeys((*parameters.OPENAI_MODELS, *house.settings.aliases, AUTO, *tiers)))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": RELEASED, "owned_by": "whisper-lambda"}
