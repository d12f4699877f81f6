"""Print each word with its time and the model's trust in it, as soon as its chunk is done.

python examples/word_times.py [RECORDING]
"""

import sys
from pathlib import Path

import whisper_lambda

FIXTURE = Path(__file__).parents[1] / "tests" / "fixtures" / "es-tt-allbusy.flac"

recording = sys.argv[1] if len(sys.argv) > 1 else FIXTURE
for segment in whisper_lambda.stream(recording, times="word"):
    for word in segment.words:
        print(f"{word.start:7.2f} {word.end:7.2f} {word.probability:4.2f} {word.text.strip()}")
