"""Bytes of any media file in; samples, the spans that hold speech, and chunks out.

`decode` is the door. It has the file opened (`opening`) and read in a confined process: `sandbox` starts
it, `session` listens to it, `decoder_child` is its program and the only importer of av. Nothing a client
sent is parsed by FFmpeg in this process.
"""
