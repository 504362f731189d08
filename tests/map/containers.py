"""Run the image: with docker or podman where there is one, else from buildah's storage in namespaces of its own.

Both ways alike: another user than root, a root that cannot be written, /tmp in memory, the machine's network.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["Buildah", "Engine", "Image", "Running", "find_image"]

_NAMESPACES = """
set -e
root=$1 user=$2 folder=$3
shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift
mount -o remount,ro,bind "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" env -i -C "$folder" "$@"
"""


@dataclass
class Running:
    """A container that runs."""

    process: "subprocess.Popen[bytes]"
    log: Path
    first: int

    def terminate(self) -> tuple[int, float]:
        """Send SIGTERM to the container's first process; return its status and the seconds that it took to end."""
        began = time.monotonic()
        os.kill(self.first, signal.SIGTERM)
        return self.process.wait(60), time.monotonic() - began


@dataclass
class Image:
    """What the tests ask of either way."""

    name: str

    def run(self, *arguments: str, timeout: float = 300, **how: Any) -> "subprocess.CompletedProcess[str]":
        """Run the image to its end."""
        command = self._command(arguments, **how)
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    @contextmanager
    def start(self, *arguments: str, log: Path, **how: Any) -> Iterator[Running]:
        """Start the image; it is killed when the context ends."""
        with log.open("wb") as stream:
            process = subprocess.Popen(self._command(arguments, **how), stdout=stream, stderr=stream)
        first = process.pid
        try:
            first = self._first_process(process.pid)
            yield Running(process, log, first)
        finally:
            if process.poll() is None:
                # Not unshare: the kernel forgets --kill-child where the user changes, and the container would go on.
                os.kill(first, signal.SIGKILL)
                process.wait()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The image's configuration, as OCI has it."""
        raise NotImplementedError

    def _command(
        self,
        arguments: Sequence[str],
        *,
        mounts: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        user: str = "1000:1000",
        entrypoint: Sequence[str] | None = None,
    ) -> list[str]:
        raise NotImplementedError

    def _first_process(self, pid: int) -> int:
        raise NotImplementedError


@dataclass
class Engine(Image):
    """docker or podman."""

    engine: str = "docker"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The image's configuration."""
        found = json.loads(_output([self.engine, "image", "inspect", self.name]))
        return dict(found[0]["Config"])

    def _command(
        self,
        arguments: Sequence[str],
        *,
        mounts: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        user: str = "1000:1000",
        entrypoint: Sequence[str] | None = None,
    ) -> list[str]:
        command = [self.engine, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "host", "--user", user]
        command += [f"--volume={folder}:{target}" for target, folder in (mounts or {}).items()]
        command += [f"--env={name}={value}" for name, value in (environment or {}).items()]
        if entrypoint:
            command += ["--entrypoint", entrypoint[0]]
            arguments = [*entrypoint[1:], *arguments]
        return [*command, self.name, *arguments]

    def _first_process(self, pid: int) -> int:
        return pid  # it passes signals on


@dataclass
class Buildah(Image):
    """No engine runs here: the files are those of buildah's storage."""

    root: Path = Path()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The image's configuration."""
        return dict(json.loads(_output(["buildah", "inspect", "--type", "image", self.name]))["OCIv1"]["config"])

    def _command(
        self,
        arguments: Sequence[str],
        *,
        mounts: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        user: str = "1000:1000",
        entrypoint: Sequence[str] | None = None,
    ) -> list[str]:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _NAMESPACES, "sh"]
        command += [str(self.root), user, self.config["WorkingDir"]]
        for target, folder in (mounts or {}).items():
            inside = self._inside(target)
            if folder.is_dir():
                inside.mkdir(parents=True, exist_ok=True)
            else:
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.touch()
            command += [str(folder), str(inside)]
        command += ["--", *self.config["Env"], *(f"{name}={value}" for name, value in (environment or {}).items())]
        return [*command, *(entrypoint or self.config["Entrypoint"]), *arguments]

    def _inside(self, target: str) -> Path:
        """Return where a path of the image lies here: its links, such as /var/run, are those of the image."""
        path = self.root
        for part in Path(target).parts[1:]:
            path /= part
            if path.is_symlink() and path.readlink().is_absolute():
                path = self._inside(str(path.readlink()))
        return path

    def _first_process(self, pid: int) -> int:
        children = Path(f"/proc/{pid}/task/{pid}/children")
        for _ in range(100):
            if found := children.read_text().split():
                return int(found[0])
            time.sleep(0.05)
        raise RuntimeError("unshare has started nothing")


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@contextmanager
def find_image(name: str) -> Iterator[Image]:
    """Give the image by whatever can run it here.

    Raises
    ------
    RuntimeError
        Nothing here has an image of this name.
    """
    for engine in ("docker", "podman"):
        there = shutil.which(engine) and subprocess.run(
            [engine, "image", "inspect", name], capture_output=True, check=False
        )
        if there and there.returncode == 0:
            yield Engine(name, engine=engine)
            return
    if not shutil.which("buildah"):
        raise RuntimeError(f"neither docker nor podman nor buildah has {name}; make it with: make map")
    container = _output(["buildah", "from", "--pull-never", name]).strip()
    try:
        yield Buildah(name, root=Path(_output(["buildah", "mount", container]).strip()))
    finally:
        _output(["buildah", "umount", container])
        _output(["buildah", "rm", container])
