"""PCM in as it is spoken, words out: committed ones, which never change, and tentative ones.

`session.Session` is the whole of it: synchronous, pure but for the engine, free of any protocol.
The rule not to break: a committed word is never taken back, changed or decoded again.
"""
