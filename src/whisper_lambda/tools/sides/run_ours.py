"""Our side: the same Service the command line and the server use, from path to transcript."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from whisper_lambda.bootstrap import build
from whisper_lambda.config import Settings
from whisper_lambda.errors import WhisperLambdaError
from whisper_lambda.tools.sides.turns import take_turns
from whisper_lambda.types import Options, Transcript


def main(model: str) -> None:
    """Answer jobs whose fields beside `audio` are those of Options."""
    with build(replace(Settings.from_env(), cache_mb=0)) as service:  # what is measured is heard

        def answer(job: dict[str, Any]) -> dict[str, Any]:
            path = Path(job.pop("audio"))
            try:
                return _record(service.transcribe(path, Options(**job), model=model, tenant=None))
            except WhisperLambdaError as failure:
                return {"error": failure.code}

        take_turns(answer)


def _record(transcript: Transcript) -> dict[str, Any]:
    return {
        "language": transcript.language,
        "duration": transcript.duration,
        "segments": [(s.start, s.end, s.text) for s in transcript.segments],
        "words": [(w.start, w.end, w.text) for w in transcript.words],
        "served": transcript.model.served if transcript.model else "",
    }


if __name__ == "__main__":
    main(sys.argv[1])
