"""Ports of ours: free, held by this program, or held by somebody else."""

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pneumo_monai.doctor.check import Check, good, wrong
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.settings import Settings

__all__ = ["check_port", "check_ports"]

_PROGRAM = {"pneumo_monai", "pneumo-monai"}
_LISTEN = "0A"
"""State of a socket in /proc/net/tcp, proc(5)."""


def check_ports(settings: Settings) -> Iterator[Check]:
    """Look at the ports of listener and web."""
    yield check_port("listener", settings.listener.host, settings.listener.port)
    yield check_port("web", settings.web.host, settings.web.port)
    try:
        token = settings.web.read_token()
    except ConfigurationError as error:
        yield wrong("token of web", str(error))
    else:
        yield good("token of web", "nobody is asked for one" if token is None else "every caller is asked for it")


def check_port(section: str, host: str, port: int) -> Check:
    """Look whether a port can be listened on, or is by this program already."""
    name, where = f"port of {section}", f"{host}:{port}"
    if port == 0:
        return good(name, f"{host}, a free port is chosen at each start")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # What a service that just ended left waiting is no holder.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _held(name, section, where, port)
        if error.errno == errno.EACCES:
            return wrong(name, f"{where} may not be used by this user", f"set {section}.port to 1024 or more")
        return wrong(
            name, f"{where} cannot be listened on ({error.strerror})", f"set {section}.host to an address of ours"
        )
    return good(name, f"{where} is free")


def _held(name: str, section: str, where: str, port: int) -> Check:
    inodes = _listening(port)
    holders = [command for inode in inodes if (command := _holder(inode))]
    if holders and not any(_PROGRAM.isdisjoint(command) for command in holders):
        return good(name, f"{where} is held by pneumo-monai")
    who = f"by {holders[0][0]}" if holders else "by a process that this user may not look at"
    return wrong(
        name, f"{where} is held {who}", f"stop it, set {section}.port to another, or ask as the service's user"
    )


def _listening(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _holder(inode: str) -> list[str] | None:
    """Return the command line of the process that holds a socket, without folders, if this user may see it."""
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end while it is looked at, and those of others are closed to us.
        with suppress(OSError):
            if any(str(link.readlink()) == f"socket:[{inode}]" for link in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                return [word.rpartition("/")[2] for word in words]
    return None
