"""The application behind a real socket, with an engine whose pace is known: stub_server.py SECONDS."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes import FakeEngine, fake_service
from whisper_lambda.config import Settings
from whisper_lambda.http import server
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates


def main() -> None:
    """Serve until SIGTERM."""
    settings = Settings.from_env()
    with fake_service(FakeEngine(delay_s=float(sys.argv[1]), serial=True), settings) as service:
        gates = Gates.of(service, settings, open_to_everyone=True)
        app = create_app(service, settings, gates=gates)
        listener = server.bound("127.0.0.1", 0)
        where = f"http://127.0.0.1:{listener.getsockname()[1]}"
        running = server.server(app, settings, gates, lambda: print(where, file=sys.stderr, flush=True))
        asyncio.run(running.serve(sockets=[listener]))


if __name__ == "__main__":
    main()
