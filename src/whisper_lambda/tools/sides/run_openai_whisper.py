"""openai-whisper's side. Runs as a plain script, so that torch may live in another interpreter.

It is given samples, for it decodes with the ffmpeg program, which need not be there; so its times
leave out the decoding that is in everybody else's.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np
import torch
import whisper


def load(weights: str) -> Any:  # noqa: ANN401 - the library publishes no types
    """Build the model from arrays under its own names and the dimensions beside them."""
    arrays = dict(np.load(weights))
    dims = whisper.ModelDimensions(**json.loads(str(arrays.pop("dims"))))
    model = whisper.model.Whisper(dims)
    heads = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    heads[tuple(arrays.pop("alignment_heads").T)] = True
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model.eval()


def main(weights: str) -> None:
    """Answer jobs with `samples`, a file of float32 samples; other fields go to `transcribe`."""
    model = load(weights)
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as out:
        os.dup2(2, 1)
        out.write(json.dumps({"ready": True}) + "\n")
        for line in sys.stdin:
            job = json.loads(line)
            started = time.perf_counter()
            how = {key: value for key, value in job.items() if key not in ("audio", "samples")}
            samples = np.fromfile(job["samples"], np.float32)
            result = model.transcribe(samples, fp16=False, verbose=None, **how)
            reply = {
                "seconds": time.perf_counter() - started,
                "language": result["language"],
                "duration": len(samples) / 16_000,
                "segments": [(s["start"], s["end"], s["text"]) for s in result["segments"]],
            }
            out.write(json.dumps(reply, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
