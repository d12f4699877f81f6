"""Write a .txt and a .srt beside every recording of a folder, loading the model once.

python examples/transcribe_folder.py interviews/
python examples/transcribe_folder.py            # the recordings of tests/fixtures, printed only
"""

import sys
from pathlib import Path

from whisper_lambda import WhisperLambdaError
from whisper_lambda.api import Transcriber
from whisper_lambda.transcript.formats import renderer

SUFFIXES = {".flac", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".wav", ".webm"}


def main(folder: Path, *, write: bool) -> int:
    """Transcribe every recording; return how many could not be."""
    failures = 0
    to_text, to_srt = renderer("text"), renderer("srt")
    with Transcriber() as transcriber:
        for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
            try:
                transcript = transcriber.transcribe(path)
            except WhisperLambdaError as error:
                failures += 1
                print(f"{path.name}: {error.code}: {error}", file=sys.stderr)
                continue
            print(f"{path.name} [{transcript.language}] {transcript.text}")
            if write:
                path.with_suffix(".txt").write_text(to_text(transcript), encoding="utf-8")
                path.with_suffix(".srt").write_text(to_srt(transcript), encoding="utf-8")
    return failures


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1]), write=True))
    sys.exit(main(Path(__file__).parents[1] / "tests" / "fixtures", write=False))
