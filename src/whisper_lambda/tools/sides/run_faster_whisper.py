"""faster-whisper's side, with its own defaults wherever a job does not say otherwise."""

from __future__ import annotations

import sys
from typing import Any

from faster_whisper import BatchedInferencePipeline, WhisperModel

from whisper_lambda.tools.sides.turns import take_turns


def main(folder: str, threads: int) -> None:
    """Answer jobs; `batch_size` chooses the batched pipeline, other fields go to `transcribe`.

    Args:
        folder: CTranslate2 model folder.
        threads: its `cpu_threads`; 0 = its default.
    """
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=threads)
    batched = BatchedInferencePipeline(model)

    def answer(job: dict[str, Any]) -> dict[str, Any]:
        pipeline = batched if "batch_size" in job else model
        try:
            segments, info = pipeline.transcribe(job.pop("audio"), **job)
            heard = list(segments)
        except Exception as failure:  # noqa: BLE001 - it leaks any class, and a failure is a result here
            return {"error": type(failure).__name__}
        return {
            "language": info.language,
            "duration": info.duration,
            "segments": [(s.start, s.end, s.text) for s in heard],
            "words": [(w.start, w.end, w.word) for s in heard for w in s.words or ()],
        }

    take_turns(answer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
