"""Make golden_logmel.npz: what openai-whisper 20250625 makes of a second of the Spanish fixture.

    pip install openai-whisper==20250625
    python tests/unit/engine/make_golden.py spanish.npy

The samples are kept with it, so that the test depends on no decoder.
"""

import sys
from pathlib import Path

import numpy as np
import whisper

HERE = Path(__file__).parent
START, LENGTH = 16_000, 16_000  # samples: the second second of speech
SILENCE = 4_800  # samples after it: 0.3 s


def main(samples: Path) -> None:
    """Write the golden for float32 samples, 16 kHz, as `numpy.save` wrote them."""
    heard = np.round(np.load(samples)[START : START + LENGTH] * 32768).astype(np.int16)
    audio = heard.astype(np.float32) / 32768
    mels = {
        f"mel_{bins}": whisper.log_mel_spectrogram(audio, bins, padding=SILENCE).numpy() for bins in (80, 128)
    }
    np.savez_compressed(HERE / "golden_logmel.npz", samples=heard, **mels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
