"""Where jobs are handed in and asked after: this machine's home, or a server. Both speak the wire's JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from whisper_lambda.client.steps import Reply
    from whisper_lambda.config import Settings
    from whisper_lambda.job import Job, Order
    from whisper_lambda.jobs.desk import Handed

LIVE = frozenset({"queued", "running"})
LOOK_S = 0.5  # how often one who follows a job asks
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Here:
    """Jobs of this machine's home."""

    def __init__(self, settings: Settings) -> None:
        from whisper_lambda.staffing import open_desk

        self.desk = open_desk(settings)

    def hand_in(self, stream: BinaryIO, order: Order, handed: Handed) -> dict[str, Any]:
        """Hand in what a stream holds, or find the job that has the key; refuses what a server would."""
        from whisper_lambda.bootstrap import build
        from whisper_lambda.jobs import webhooks
        from whisper_lambda.transcript.formats import renderer

        if order.model is not None:
            build(self.desk.settings).router.check(order.model)
        written = {"response_format": renderer(order.answer["response_format"]).name}
        private = self.desk.settings.webhooks_private
        address = handed.webhook and webhooks.checked(handed.webhook, private=private)
        job = self.desk.accept(replace(order, answer=written), stream, replace(handed, webhook=address))
        return self._wire(job)

    def job(self, job_id: str) -> dict[str, Any]:
        """Ask after it."""
        return self._wire(self.desk.job(job_id, ""))

    def result(
        self, job_id: str, name: str | None, *, partial: bool, more: Mapping[str, Any] = _NOTHING
    ) -> Reply:
        """Read its transcript; `more` = fields of the route."""
        from whisper_lambda.client.steps import Reply
        from whisper_lambda.http import jobviews

        job = self.desk.job(job_id, "")
        transcript = self.desk.transcript(job, partial=partial)
        asked = {**more, **({"format": name} if name else {})}
        answer = jobviews.result(job, transcript, asked, self.desk.settings)
        return Reply(answer.status_code, dict(answer.headers), bytes(answer.body))

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel it."""
        return self._wire(self.desk.cancel(job_id, ""))

    def listed(self, limit: int) -> list[dict[str, Any]]:
        """List the newest."""
        return [self._wire(job) for job in self.desk.listed("", limit=limit)]

    def close(self) -> None:
        """Close the store."""
        self.desk.store.close()

    def _wire(self, job: Job) -> dict[str, Any]:
        from whisper_lambda.http import jobviews

        return jobviews.to_wire(job, time.time())


class There:
    """Jobs of a server."""

    def __init__(self, server: str, key: str | None) -> None:
        import httpx2

        from whisper_lambda.config import Settings

        key = key or Settings.from_env().server_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        address = f"{server.rstrip('/').removesuffix('/v1')}/v1"
        self._http = httpx2.Client(base_url=address, headers=headers, timeout=600)

    def hand_in(self, stream: BinaryIO, order: Order, handed: Handed) -> dict[str, Any]:
        """Hand in what a stream holds, or find the job that has the key."""
        from whisper_lambda.client.asking import form

        # Words' times come with every job; saying so would ask for verbose_json.
        options = replace(order.options, times="segment")
        also = {"task": options.task, "priority": str(handed.priority), **order.answer}
        also |= {"idempotency_key": handed.idempotency_key, "webhook": handed.webhook}
        fields: dict[str, list[str]] = {}
        for name, value in (*form(options, order.model), *also.items()):
            if value is not None:
                fields.setdefault(name, []).append(value)
        return self._asked("POST", "/jobs", data=fields, files={"file": stream})

    def job(self, job_id: str) -> dict[str, Any]:
        """Ask after it."""
        return self._asked("GET", f"/jobs/{job_id}")

    def result(
        self, job_id: str, name: str | None, *, partial: bool, more: Mapping[str, Any] = _NOTHING
    ) -> Reply:
        """Read its transcript; `more` = fields of the route."""
        asked = {**more, **({"format": name} if name else {}), **({"partial": "true"} if partial else {})}
        return self._answer("GET", f"/jobs/{job_id}/result", params=asked)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel it."""
        return self._asked("DELETE", f"/jobs/{job_id}")

    def listed(self, limit: int) -> list[dict[str, Any]]:
        """List the newest."""
        data: list[dict[str, Any]] = self._asked("GET", "/jobs", params={"limit": limit})["data"]
        return data

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on
        from whisper_lambda.client.replies import parsed

        return parsed(self._answer(method, path, **more))

    def _answer(self, method: str, path: str, **more: Any) -> Reply:  # noqa: ANN401 - passed on
        import httpx2

        from whisper_lambda.client.replies import failure
        from whisper_lambda.client.steps import Reply
        from whisper_lambda.errors import ServerUnreachable

        try:
            answer = self._http.request(method, path, **more)
        except httpx2.HTTPError as cause:
            raise ServerUnreachable(f"the server cannot be reached: {type(cause).__name__}") from cause
        reply = Reply(answer.status_code, dict(answer.headers), answer.content)
        if answer.is_error:
            raise failure(reply)
        return reply


def counter(server: str | None, key: str | None, settings: Settings | None = None) -> Here | There:
    """Return where jobs are asked after: a server's, or this machine's home; by the environment if absent."""
    from whisper_lambda.config import Settings

    return There(server, key) if server else Here(settings or Settings.from_env())
