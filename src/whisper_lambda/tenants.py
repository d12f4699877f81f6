"""Whose data is whose: the names tenants have at rest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

LOCAL = ""  # who asks the command line, the Python API, or a server without keys


def folder(tenant: str) -> str:
    """Return the name of the tenant's folder in every store: 32 hexadecimal digits.

    A tenant may be called anything, `../` included, and its name may be an address or a person's.
    """
    return hashlib.sha256(b"tenant\0" + tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def of_user(user_id: str) -> str:
    """Return the tenant a request without a key speaks for; never the name of a key's tenant."""
    return f"user:{user_id}" if user_id else LOCAL


def sharing(tenant: str, groups: Mapping[str, str]) -> str:
    """Return the tenant whose cache this one uses: its own, unless the operator put it into a group."""
    return f"group:{groups[tenant]}" if tenant in groups else tenant
