"""The textbook's queues: Poisson arrivals, exponential service, c servers. For checking, and for planning."""

from __future__ import annotations

import math


def erlang_b(servers: int, load: float) -> float:
    """Return the share of arrivals refused where none may wait (M/M/c/c).

    Args:
        servers: c.
        load: arrivals a second times the mean seconds each takes (erlangs).

    Source: the usual recursion B(0)=1, B(n) = aB(n-1) / (n + aB(n-1)), which does not overflow.
    """
    refused = 1.0
    for n in range(1, servers + 1):
        refused = load * refused / (n + load * refused)
    return refused


def erlang_c(servers: int, load: float) -> float:
    """Return the share of arrivals that wait (M/M/c); 1 where the load is more than can be served."""
    if load >= servers:
        return 1.0
    refused = erlang_b(servers, load)
    busy = load / servers
    return refused / (1 - busy + busy * refused)


def mean_wait_s(servers: int, arrivals_per_s: float, mean_service_s: float) -> float:
    """Return the mean wait of an M/M/c queue; infinite where it grows without end."""
    load = arrivals_per_s * mean_service_s
    if load >= servers:
        return math.inf
    return erlang_c(servers, load) * mean_service_s / (servers - load)


def servers_for(load: float, refused: float) -> int:
    """Return the fewest servers that refuse no more than this share (Erlang B)."""
    share, n = 1.0, 0
    while share > refused:
        n += 1
        share = load * share / (n + load * share)
    return n
