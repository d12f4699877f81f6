"""Whose work this is: one lane a recording, so that turns are fair and abandoned work stops.

A lane travels in a context variable, not in arguments: it changes when something is decoded, and
never what comes out, so it has no place among the options.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import Context, ContextVar, copy_context

from whisper_lambda.errors import ClientGone


class Lane:
    """One recording's place in the engine's queue. Leaving it gives up what has not begun."""

    __slots__ = ("__weakref__", "_left", "_parent", "behind", "coming", "eager", "watched")

    def __init__(
        self,
        parent: Lane | None = None,
        *,
        behind: bool = False,
        coming: int = 1,
        eager: bool = False,
        watched: bool = False,
    ) -> None:
        """Open a lane; one with a parent is left when the parent is.

        Args:
            parent: the lane it is part of.
            behind: whether it lets all others go first, as jobs do, which nobody waits for.
            coming: how many chunks will be asked about at once, so that the first batch waits for them.
            eager: whether its first chunk is wanted before the rest, as by a client who reads a stream.
            watched: whether we would see it left, so that its batches are kept short.
        """
        self.coming = coming
        self._left = False
        self._parent = parent
        self.behind: bool = behind or (parent is not None and parent.behind)
        self.eager: bool = eager or (parent is not None and parent.eager)
        self.watched: bool = watched or (parent is not None and parent.watched)

    @property
    def left(self) -> bool:
        """Whether nobody waits for this recording any more."""
        return self._left or (self._parent is not None and self._parent.left)

    @property
    def root(self) -> Lane:
        """The lane it is part of, in the end: one client's lanes share it."""
        return self if self._parent is None else self._parent.root

    def leave(self) -> None:
        """Give up what has not begun; what is being decoded runs to its end and is thrown away."""
        self._left = True


class Together(Lane):
    """What several recordings' lanes do at once: left when every one of them is."""

    __slots__ = ("_lanes",)

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self._lanes = tuple(lanes)
        super().__init__(
            watched=all(lane.watched for lane in self._lanes)
            and len({lane.root for lane in self._lanes}) == 1
        )

    @property
    def left(self) -> bool:
        """Whether nobody waits for any of it any more."""
        return all(lane.left for lane in self._lanes)


_CURRENT: ContextVar[Lane | None] = ContextVar("whisper_lambda_lane", default=None)


def current() -> Lane | None:
    """Return the lane of the work this thread does, if it was given one."""
    return _CURRENT.get()


def enter(lane: Lane | None) -> Lane | None:
    """Make `lane` the current one of this context; return the one that was."""
    before = _CURRENT.get()
    _CURRENT.set(lane)
    return before


def context_of(lane: Lane) -> Context:
    """Return a copy of this context in which `lane` is the current one."""
    context = copy_context()
    context.run(_CURRENT.set, lane)
    return context


def stay() -> None:
    """Return at once while somebody waits for the current work.

    Raises:
        ClientGone: nobody does; long steps call this between their parts.
    """
    lane = _CURRENT.get()
    if lane is not None and lane.left:
        raise ClientGone("nobody waits for this recording any more")
