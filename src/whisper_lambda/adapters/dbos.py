"""The Fanout port on DBOS: SQLite in one process or several, Postgres on any number of machines.

    plan -> chunk 0..63, each of which at its end queues the one 64 further on -> merge

So a job of ten hours never fills the queue, and cancelling takes little out of it. A part is a workflow
without recorded steps: each is harmless when repeated, and one row is all it costs. Names of workflows
are made from job and chunk, so queueing one twice queues it once.

DBOS never notices a dead process by itself. Workers beat in a table (`RollCall`), and whoever sees a beat
stand still puts what that worker had back into the queue; DBOS then refuses the first one's outcome, and
our store refuses its result.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import Context

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions, WorkflowStatus

from whisper_lambda import lanes, tenants
from whisper_lambda.adapters.sqlroll import RollCall
from whisper_lambda.errors import ClientGone, NoSuchJob
from whisper_lambda.job import LIVE, Job
from whisper_lambda.jobs import merging, steps
from whisper_lambda.jobs.clearing import Orphans, clear_expired
from whisper_lambda.jobs.steps import Workshop
from whisper_lambda.lanes import Lane

APPLICATION = "whisper-lambda"
WIRE = "jobs-1"  # of names and arguments of parts: workers of another wire leave them alone
WORK, TELLING = "whisper-lambda-work", "whisper-lambda-webhooks"
AHEAD = 64  # chunks of one job in the queue or under way: the most workers it can keep busy
MERGE_FIRST = 1  # DBOS's priorities: lower goes first
LOWEST = 11
RETRY_MOST_S = 30.0
HAND_ON_S = 2.0  # most that is waited at the end for parts to be let go of
ORPHANS_EVERY_S = 600.0
ROWS = 10_000  # of the queue, removed at a time; a job of days has more
FORGOTTEN_EVERY_S = 30.0  # how often jobs are looked for that the queue may have lost

log = logging.getLogger(__name__)


class LetGo(BaseException):
    """Ends a part that was handed on, without an outcome: DBOS would wait for the other worker's.

    No `Exception`, which it would record as the part's end.
    """


class DbosFanout:
    """This process's hold on the queue; `launch` makes it a worker too. One a process: DBOS is so."""

    def __init__(
        self,
        shop: Workshop,
        database: str,
        roll: RollCall,
        *,
        worker: str,
        at_once: int,
        tell: Callable[[Job, int], float | None],
    ) -> None:
        """Describe the worker; nothing starts before `launch`.

        Args:
            shop: what parts are done with.
            database: address of the queue's database.
            roll: who else works.
            worker: this process's name, never used before.
            at_once: parts done at the same time.
            tell: calls a job's webhook, the how-many-th time; returns when to call again, seconds, or None.
        """
        self._shop = shop
        self._roll = roll
        self._worker = worker
        self._at_once = at_once
        self._tell = tell
        self._places = threading.Semaphore(at_once)
        self._lanes: dict[str, Lane] = {}  # workflow -> its lane, while it is done or waits here
        self._begun: set[str] = set()  # those that wait for no place
        self._unknown: Counter[str] = Counter()  # own workflows nobody here does -> beats seen so
        self._stopping = threading.Event()
        self._submitted: set[str] = set()
        settings = shop.settings
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": database,
            "application_version": WIRE,
            "executor_id": worker,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "scheduler_polling_interval_sec": 3600.0,
        }
        _our_logs()
        self._dbos = DBOS(config=config)
        self._poll_s = settings.jobs_poll_s
        self._tenant_at_once = min(settings.jobs_tenant_at_once or at_once, at_once)
        for work in (self.plan, self.chunk, self.merge, self.webhook):
            DBOS.workflow(name=work.__name__, max_recovery_attempts=None)(_plain(work))

    def launch(self) -> None:
        """Open the queue and begin to work."""
        DBOS.launch()
        # Twice as many taken from the queue as are done at once: a free place waits for no poll.
        DBOS.register_queue(
            WORK,
            worker_concurrency=2 * self._at_once,
            partition_worker_concurrency=2 * self._tenant_at_once,
            polling_interval_sec=self._poll_s,
            on_conflict="always_update",
        )
        DBOS.register_queue(
            TELLING, worker_concurrency=4, polling_interval_sec=1.0, on_conflict="always_update"
        )
        self._roll.beat(self._worker)
        self._beating = threading.Thread(target=self._beat, name="jobs-beat", daemon=True)
        self._beating.start()

    def submit(self, job: Job) -> None:
        """Queue the plan; see the port."""
        self._enqueue("plan", f"{job.id}/plan", job.id, job=job)
        self._submitted.add(job.id)

    def cancel(self, job_id: str) -> None:
        """Take the job's parts out of the queue, and leave its lanes here; see the port."""
        for name, lane in list(self._lanes.items()):
            if name.startswith(f"{job_id}/"):
                lane.leave()
        for state in ("ENQUEUED", "DELAYED"):
            waiting = DBOS.list_workflows(
                workflow_id_prefix=f"{job_id}/", status=state, load_input=False, load_output=False
            )
            if waiting:
                DBOS.cancel_workflows([w.workflow_id for w in waiting])
        self._told(self._shop.store.job(job_id))

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove the jobs' rows, and what is readable of them in the file; see the port."""
        self._remove(job_ids)
        if job_ids:
            self._roll.sweep()

    def _remove(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            self._submitted.discard(job_id)
            while rows := DBOS.list_workflows(
                workflow_id_prefix=f"{job_id}/", load_input=False, load_output=False, limit=ROWS
            ):
                DBOS.delete_workflows([w.workflow_id for w in rows])

    def close(self) -> None:
        """Take nothing new, wait for what is under way within the settings' time, hand the rest on."""
        self._stopping.set()
        for stop in self._dbos.background_thread_stop_events:
            stop.set()
        deadline = time.monotonic() + self._shop.settings.drain_s
        while self._begun and time.monotonic() < deadline:
            time.sleep(0.02)
        self._beating.join()
        self._hand_on()
        self._roll.strike(self._worker)
        DBOS.destroy(destroy_registry=True)

    def _hand_on(self) -> None:
        """Queue again what was taken and not done, then let go of it: DBOS takes no outcome of it from us.

        More than once: what was on its way when the queue was stopped comes late and would wait for ever.
        """
        deadline = time.monotonic() + HAND_ON_S
        while True:
            here = list(self._lanes.values())
            self._again([row.workflow_id for row in self._pending([self._worker])])
            for lane in here:
                lane.leave()
            time.sleep(0.05)
            if not self._lanes or time.monotonic() > deadline:
                return

    # The parts. DBOS calls them on threads of its own.

    def plan(self, job_id: str) -> None:
        """Plan a job and queue its first chunks."""
        job = self._done(lambda: steps.plan(self._shop, job_id), takes_place=True)
        if job is None or job.state not in LIVE:
            self._told(job)
        elif not job.chunks or job.chunks_done >= job.chunks:
            self._enqueue("merge", f"{job_id}/merge", job_id, job=job)
        else:
            for index in range(min(AHEAD, job.chunks)):
                self._enqueue("chunk", f"{job_id}/{index}", job_id, index, job=job)

    def chunk(self, job_id: str, index: int) -> None:
        """Hear a chunk, queue the one that is due, and after the last the merge."""
        job = self._done(lambda: steps.chunk(self._shop, job_id, index), takes_place=True)
        if job is None or job.state != "running" or job.chunks is None:
            return
        if index + AHEAD < job.chunks:
            self._enqueue("chunk", f"{job_id}/{index + AHEAD}", job_id, index + AHEAD, job=job)
        if job.chunks_done >= job.chunks:
            self._enqueue("merge", f"{job_id}/merge", job_id, job=job)

    def merge(self, job_id: str) -> None:
        """End a job."""
        self._told(self._done(lambda: merging.merge(self._shop, job_id)))

    def webhook(self, job_id: str, attempt: int) -> None:
        """Call a job's webhook, and queue the next try where it does not answer."""
        job = self._done(lambda: self._shop.store.job(job_id))
        again_s = self._tell(job, attempt) if job is not None else None
        if job is not None and again_s is not None:
            self._call(job, attempt + 1, again_s)

    def _told(self, job: Job | None) -> None:
        if job is not None and job.state not in LIVE and job.webhook and not job.told:
            self._call(job, 1, None)

    def _call(self, job: Job, attempt: int, delay_s: float | None) -> None:
        self._enqueue("webhook", f"{job.id}/webhook/{attempt}", job.id, attempt, delay_s=delay_s)

    def _done(self, part: Callable[[], Job], *, takes_place: bool = False) -> Job | None:
        """Do a part for as long as that takes; None where there is nothing more to do.

        A store that does not answer is waited for: DBOS would count the failure as the part's end.

        Raises:
            LetGo: it is for others to do, this worker ends.
        """
        name, lane, wait_s = DBOS.workflow_id or "", Lane(behind=True), 0.1
        self._lanes[name] = lane
        try:
            while self._has_place(lane, wanted=takes_place):
                self._begun.add(name)
                lanes.enter(lane)
                try:
                    return part()
                except NoSuchJob:
                    return None
                except ClientGone:
                    break
                except Exception as cause:  # noqa: BLE001 - see above
                    log.warning("%s: %s; tried again in %.1f s", name, type(cause).__name__, wait_s)
                finally:
                    lanes.enter(None)
                    self._begun.discard(name)
                    if takes_place:
                        self._places.release()
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_MOST_S)
            if self._stopping.is_set():
                raise LetGo
            return None
        finally:
            self._lanes.pop(name, None)

    def _has_place(self, lane: Lane, *, wanted: bool) -> bool:
        """Wait for a place; a worker that stops gives none. False: the part is for others to do."""
        while not lane.left:
            if self._stopping.is_set():
                time.sleep(0.02)  # until it is in the queue again
            elif not wanted or self._places.acquire(timeout=0.1):
                return True
        return False

    def _enqueue(
        self,
        work: str,
        name: str,
        *arguments: str | int,
        job: Job | None = None,
        delay_s: float | None = None,
    ) -> None:
        options: EnqueueOptions = {
            "workflow_name": work,
            "queue_name": WORK if job else TELLING,
            "workflow_id": name,
            "app_version": WIRE,
        }
        if job:
            options["queue_partition_key"] = tenants.folder(job.tenant)  # a name may be a person's
            options["priority"] = MERGE_FIRST if work == "merge" else LOWEST - job.priority
        if delay_s is not None:
            options["delay_seconds"] = delay_s
        # In a context of its own: DBOS would record it as a step of the part under way.
        Context().run(DBOS.enqueue_workflow_with_options, options, *arguments)

    # The beat.

    def _beat(self) -> None:
        """Say that this worker lives, look who does not, and look for jobs nobody queued."""
        every_s = min(self._shop.settings.jobs_lease_s / 5, 1.0)
        looked, swept = 0.0, time.monotonic()
        orphans = Orphans(self._shop.store, self._shop.objects)
        while not self._stopping.wait(every_s):
            try:
                self._roll.beat(self._worker)
                self._take_over()
                self._leave_cancelled()
                thorough = time.monotonic() - looked > FORGOTTEN_EVERY_S
                self._find_forgotten(thorough=thorough)
                if thorough:
                    looked = time.monotonic()
                    self._remove(clear_expired(self._shop.store, self._shop.objects, time.time()))
                if time.monotonic() - swept > ORPHANS_EVERY_S:
                    swept = time.monotonic()
                    orphans.sweep(swept)
            except Exception as cause:  # noqa: BLE001 - the next beat tries again
                log.warning("a beat failed: %s", type(cause).__name__)

    def _take_over(self) -> None:
        """Queue again what dead workers had, and what this one has lost."""
        rows = self._pending()
        owners = {row.executor_id for row in rows if row.executor_id} - {self._worker}
        for worker in self._roll.dead(owners):
            if worker == self._worker:
                continue
            left = [row for row in rows if row.executor_id == worker]
            if left:
                log.warning("%s is silent: %d parts it had are queued again", worker, len(left))
                self._again([row.workflow_id for row in left])
            self._roll.strike(worker)
        lost = {r.workflow_id for r in rows if r.executor_id == self._worker} - self._lanes.keys()
        self._unknown = Counter({name: self._unknown[name] + 1 for name in lost})
        if long_lost := [name for name, beats in self._unknown.items() if beats > 10]:  # noqa: PLR2004
            self._again(long_lost)

    def _again(self, names: Sequence[str]) -> None:
        for queue in (WORK, TELLING):
            some = [n for n in names if ("/webhook/" in n) == (queue == TELLING)]
            if some:
                DBOS.resume_workflows(some, queue_name=queue)

    def _leave_cancelled(self) -> None:
        """Give up what is under way here for jobs that were cancelled elsewhere."""
        for job_id in {name.partition("/")[0] for name in list(self._lanes)}:
            try:
                ended = self._shop.store.job(job_id).state not in LIVE
            except NoSuchJob:
                ended = True
            for name, lane in list(self._lanes.items()):
                if ended and name.startswith(f"{job_id}/") and not name.endswith("/merge"):
                    lane.leave()

    def _find_forgotten(self, *, thorough: bool) -> None:
        """Submit jobs that are stored and not queued: their acceptor has no queue, or died in between."""
        for state in ("queued", "running") if thorough else ("queued",):
            after = None
            while page := self._shop.store.list(None, limit=50, after=after, state=state):
                for job in page:
                    if thorough or job.id not in self._submitted:
                        self.submit(job)
                if not thorough:
                    break
                after = page[-1].id

    def _pending(self, workers: list[str] | None = None) -> list[WorkflowStatus]:
        return DBOS.list_workflows(status="PENDING", executor_id=workers, load_input=False, load_output=False)


def _plain(method: Callable[..., None]) -> Callable[..., None]:
    """Return the method as a function: DBOS would want to store what it is bound to."""

    def work(*arguments: str | int) -> None:
        method(*arguments)

    work.__name__ = work.__qualname__ = method.__name__
    return work


def _our_logs() -> None:
    """Have what DBOS says written as everything else is."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # it adds one to the terminal where there is none
    logger.propagate = True
