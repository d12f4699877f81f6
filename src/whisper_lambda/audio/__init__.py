"""Bytes of any media file in; samples, the spans that hold speech, and chunks out.

`decode` reads the file in a confined process (`sandbox` starts it, `decoder_child` is its program
and the only importer of av); nothing a client sent is parsed by FFmpeg in this process.
"""
