"""Chunk results enter, in any order; a transcript on one timeline leaves, written in some format.

`stitch` puts results on the timeline. `formats` is the door to the writers: `documents` (text,
json, tsv), `subtitles` (srt, vtt), `lyrics` (lrc), `karaoke` (ass). `cues` cuts segments into what
is on screen at one time; `escaping` makes any text harmless; `ticks` makes any times writable.
"""
