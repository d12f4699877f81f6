"""OpenAI's Realtime transcription: a client's events in, the server's events out, over a WebSocket.

What speaks here is the wire; what listens is `live.session`, which knows nothing of it.
"""
