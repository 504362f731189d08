"""Tell whoever started this process how it stands: the notification protocol of systemd, sd_notify(3).

`serve` and systemd both listen to it, so a process started by either needs no other means.
"""

import os
import socket

__all__ = ["notify", "notify_ready"]


def notify(state: str) -> None:
    """Send one assignment such as ``READY=1`` to the socket that NOTIFY_SOCKET names; without one, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A name that begins with @ lies in Linux's abstract namespace.
        channel.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        channel.sendall(state.encode())


def notify_ready(**facts: str) -> None:
    """Say that start-up is done, and a line an administrator may read."""
    status = ", ".join(f"{name} {value}" for name, value in facts.items())
    notify(f"READY=1\nSTATUS={status}")
