"""POST /transcribe, the founding endpoint: its fields keep their names and spelling for ever."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda.http import handing_on, parameters
from whisper_lambda.http.answers import answer, to_founding
from whisper_lambda.http.asking import facts
from whisper_lambda.http.fields import Field, text
from whisper_lambda.http.house import House
from whisper_lambda.http.openai import body
from whisper_lambda.http.table import Table


def router(house: House) -> Table:
    """Return the route."""
    routes = Table(tags=["Founding endpoint"])
    table = [
        Field("user_id", text(parameters.LONGEST_USER), "whose request it is, where no key says so"),
        Field(
            "model_type", parameters.model(house.service), "tier or alias, such as internal; absent = default"
        ),
        Field("language", parameters.language(), "ISO 639-1 code; absent = detected"),
        Field("format", parameters.response_format(), "what is answered; json if absent"),
        Field("resume", text(2048), "the token of an answer that was cut for time: the rest is heard"),
        Field("url", text(2048), "https address of the recording, where this server fetches them"),
        Field("upload", text(64), "id of a recording sent ahead (POST /v1/uploads)"),
    ]

    @routes.answer("POST", "/transcribe", openapi_extra=body(table))
    async def transcribe(request: Request) -> Response:
        """Transcribe a recording."""
        async with house.received(request, table) as upload:
            values = upload.values
            wanted = values.get("format", "json")
            facts(request.scope)["format"] = wanted
            named = {**values, "model": values.get("model_type")}
            wish = parameters.wish(named, parameters.times(named, wanted, ()), wanted)
            job = {**named, "response_format": wanted}
            found = await handing_on.heard(house, request, upload, wish, job)
            if isinstance(found, Response):
                return found
            heard, bill = found
            if wanted not in ("json", "verbose_json"):
                write = partial(answer, wanted, heard.transcript, bill)
                return await anyio.to_thread.run_sync(write)
            request_id = request.scope["state"]["request_id"]
            segments = wanted == "verbose_json"
            return JSONResponse(to_founding(heard.transcript, bill, request_id, segments=segments))

    return routes
