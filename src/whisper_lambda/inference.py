"""Networks on ONNX Runtime: the only module that imports it.

One thread: a second one costs more than it brings, and a threaded session beside CTranslate2 can
hang at exit (LibreTranslate#1008).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def opened(model: Path | bytes) -> Any:  # noqa: ANN401 - the library is untyped
    """Return a session of the network, from its file or its bytes. Safe to run from many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: what it notes about the processor is nobody's concern
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
