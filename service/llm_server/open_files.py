"""How many files this process may have open, of which each connection is one: a shell on macOS grants its children 256.

What comes beyond that is closed unanswered, before any of our code sees it. So the limit is raised as far as the system
lets us. Knows nothing of who connects.
"""

from __future__ import annotations

import logging
import resource
from contextlib import suppress
from typing import Final

logger = logging.getLogger(__name__)

ENOUGH: Final = 10_240
"""What macOS grants any process that asks (`OPEN_MAX`); more it may refuse."""

OWN: Final = 64
"""Files that a process of ours has open besides its connections: sockets to the others, the response store, …"""


def allow_connections(needed: int) -> None:
    """Raise the limit, and warn if fewer than `needed` connections can be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _at_least(soft, ENOUGH):
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (ENOUGH if _at_least(hard, ENOUGH) else hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _at_least(soft, needed + OWN):
        logger.warning(
            "Only %d files may be open, so of %d connections some would be closed unanswered: raise `ulimit -Hn`",
            soft,
            needed,
        )


def _at_least(limit: int, number: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= number
