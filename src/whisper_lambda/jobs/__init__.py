"""A recording heard in parts: orders in, transcripts out, whoever dies in between.

The line again with a fan-out in the middle: `steps.plan` cuts, `steps.chunk` hears one chunk through
`pipeline.transcribe_chunk`, `steps.merge` puts the results together. The rule not to break: a step
may be done twice, by two machines at once, and nobody can tell.
"""
