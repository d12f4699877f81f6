"""A recording in, its language out; nothing of it is transcribed."""

from __future__ import annotations

from starlette.requests import Request

from whisper_lambda import pipeline
from whisper_lambda.bootstrap import Source
from whisper_lambda.economy.receipt import Receipt
from whisper_lambda.http import parameters
from whisper_lambda.http.house import House
from whisper_lambda.http.listening import Heard, Stopwatch, Tell
from whisper_lambda.http.upload import Upload


async def detected(
    house: House, request: Request, upload: Upload, source: Source | None = None
) -> tuple[Heard, Receipt]:
    """Return a transcript without segments; its language is "" where nobody speaks."""
    wish = parameters.wish(upload.values, "none", "json")
    recording = upload.recording if source is None else source
    assert recording is not None

    def listen(tell: Tell) -> Heard:
        opened = Stopwatch()
        tenant = house.tenant(request, upload)
        with house.service.hear(recording, wish.options, model=wish.model, tenant=tenant) as hearing:
            tell(hearing.plan)
            init_s = opened.beyond(hearing.plan.timings)
            return Heard(pipeline.finish(hearing.plan, (), choice=hearing.choice), init_s)

    return await house.in_turn(request, upload, wish, listen)
