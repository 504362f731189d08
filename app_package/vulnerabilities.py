"""``python -m app_package.vulnerabilities LOCK...``: are there known vulnerabilities in what is locked?

pip-audit asks the package index for each version. Where that does not answer, nothing is audited, which is said in one
line and is no fault: what has no way to it must be able to check everything else.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Unanswered", "audit", "locked", "main", "read"]

_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\+]+)")
_SECONDS = 600


class Unanswered(Exception):
    """No vulnerability service answers."""


def locked(lock: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each requirement of a lock; a local version (+cpu) is no version of the index."""
    for line in lock.splitlines():
        if found := _LOCKED.match(line):
            yield found[1], found[2]


def read(answer: dict[str, Any]) -> tuple[list[str], int]:
    """Return a line for each vulnerability that pip-audit found, and how many packages were looked at.

    Raises
    ------
    Unanswered
        No package is known to the service: it is another one, or a mirror without vulnerabilities.
    """
    looked_at = [package for package in answer["dependencies"] if "skip_reason" not in package]
    if not looked_at:
        raise Unanswered("no package is known to it")
    return [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for package in looked_at
        for found in package["vulns"]
    ], len(looked_at)


def audit(requirements: Iterable[tuple[str, str]], program: Sequence[str]) -> tuple[list[str], int]:
    """Run pip-audit over requirements, and return what `read` makes of it.

    Raises
    ------
    Unanswered
        It could not ask.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("".join(f"{name}=={version}\n" for name, version in requirements))
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        try:
            done = subprocess.run(  # noqa: S603 - our own command line
                [*program, "--requirement", str(file), *options],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unanswered(f"not within {_SECONDS} s") from None
    try:
        return read(json.loads(done.stdout))
    except ValueError:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise Unanswered(said[-1]) from None


def main(locks: Sequence[str], program: Sequence[str] = (sys.executable, "-m", "pip_audit")) -> int:
    """Audit locks; 1 if something is found."""
    pinned = sorted({pair for lock in locks for pair in locked(Path(lock).read_text(encoding="utf-8"))})
    # One version of a package at a time: locks of several platforms hold two of some.
    first = dict(reversed(pinned))
    parts = [list(first.items()), [pair for pair in pinned if pair not in first.items()]]
    found: list[str] = []
    number, unanswered = 0, ""
    for part in filter(None, parts):
        try:
            lines, looked_at = audit(part, program)
            found, number = [*found, *lines], number + looked_at
        except Unanswered as error:
            unanswered = f"; the package index does not answer for known vulnerabilities ({error})"
    known = f"{number} of {len(pinned)} locked versions audited, {len(found)} known vulnerabilities{unanswered}"
    print("\n".join([*found, known]))  # noqa: T201 - the command's output
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
