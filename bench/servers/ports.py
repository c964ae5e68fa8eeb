"""Free ports of the loopback interface, below those that the system hands out (multi-model-server refuses those)."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

RANGE = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports that nobody had a moment ago, all different."""
    ports: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(RANGE, len(RANGE)):
            one = stack.enter_context(socket.socket())
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(f"fewer than {count} ports of {RANGE.start} to {RANGE.stop} are free")
