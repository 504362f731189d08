"""``python -m benchmarks.kill``: processes are killed, PACS, disk and clock disturbed, while films come in.

A modality sends drawn films until each is answered 0x0000. Meanwhile disturbances come in an order drawn from the seed.
At the end each film that was acknowledged must stand in exactly one current result in the PACS.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.kill_ledger import Sampler, judge
from benchmarks.kill_sender import Modality, draw_orders
from benchmarks.kill_site import LISTENER, SERVE, WORKER, Clock, Disk, Site

__all__ = ["kill"]

_WARM_SECONDS = 900.0
_SETTLE_SECONDS = 3600.0
_STEP_SECONDS = 0.1
_AT_WORK = 0.8
"""Share of the disturbances that wait until the worker has answered a film."""


class _Campaign:
    """One run; `told` is what it says of it."""

    def __init__(self, site: Site, sampler: Sampler, clock: Clock, disk: Disk | None, draw: random.Random) -> None:
        self._site = site
        self._sampler = sampler
        self._clock = clock
        self._disk = disk
        self._draw = draw
        self._seconds = (0.0, 4.0)
        self.done: Counter[str] = Counter()

    def wait(self, what: str, look: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so, and start again what dies meanwhile."""
        deadline = time.monotonic() + seconds
        while not look():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            self.pause(_STEP_SECONDS)

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._site.tend()
            time.sleep(min(left, _STEP_SECONDS))

    def disturb(self, what: str, more: Callable[[], None]) -> None:
        """Do one thing to the service, at a moment that the seed draws; `more` has films come while it lasts."""
        self.wait("the listener listens", lambda: self._site.is_ready(LISTENER), _WARM_SECONDS)
        # Mostly while it works, now and then while it starts.
        if self._draw.random() < _AT_WORK:
            self.wait("the worker is warm", lambda: self._site.is_ready(WORKER), _WARM_SECONDS)
            answered = self._sampler.answered
            self.wait("the worker works", lambda: self._is_working(answered), _WARM_SECONDS)
        self.pause(self._draw.uniform(*self._seconds))
        match what:
            case "pacs":
                self._site.pacs.stop()
                more()
                self.pause(self._draw.uniform(3.0, 12.0))
                self._site.pacs.start()
            case "disk" if self._disk is not None:
                self._disk.fill()
                more()
                self.pause(self._draw.uniform(4.0, 10.0))
                self._disk.free()
            case "clock":
                self._clock.jump(self._draw.choice([-5.0, -2.0, 0.0, 3.0, 7.0]))
                more()
            case "both":
                more()
                self.done["kill -9"] += self._site.kill(LISTENER, WORKER)
            case process:
                more()
                self.done["kill -9"] += self._site.kill(process)
        self.done[what] += 1

    def _is_working(self, answered: int) -> bool:
        return self._sampler.answered > answered or self._sampler.waiting == 0


def _draw_disturbances(draw: random.Random, kills: int, counts: dict[str, int], targets: list[str]) -> list[str]:
    drawn = [draw.choice(targets) for _ in range(kills)]
    drawn += [what for what, count in counts.items() for _ in range(count)]
    draw.shuffle(drawn)
    return drawn


@contextmanager
def _disk(folder: Path, mebibytes: int | None) -> Iterator[Disk | None]:
    if mebibytes is None:
        yield None
        return
    disk = Disk(folder, mebibytes)
    try:
        yield disk
    finally:
        disk.free()
        disk.unmount()


def kill(
    *,
    films: Annotated[int, typer.Option(min=1, help="In all.")] = 500,
    kills: Annotated[int, typer.Option(min=0, help="Of listener, worker, or both at once.")] = 25,
    seed: Annotated[int, typer.Option(help="Draws films, disturbances, their order and their moments.")] = 1,
    pacs: Annotated[int, typer.Option(min=0, help="How often the PACS is stopped and started again.")] = 3,
    disk: Annotated[int, typer.Option(min=0, help="How often the disk is filled; needs root.")] = 3,
    clock: Annotated[int, typer.Option(min=0, help="How often the clock jumps by hours; needs faketime.")] = 6,
    serve: Annotated[bool, typer.Option(help="`serve` starts again what dies, and is killed too.")] = False,
    at_once: Annotated[int, typer.Option(min=1, help="Associations of the modality.")] = 3,
    bundle: Annotated[Path | None, typer.Option(help="Folder of a MONAI Bundle; default: random weights.")] = None,
    folder: Annotated[Path, typer.Option(help="Data, logs and PACS; must not exist.")] = Path("kill-site"),
    out: Annotated[Path, typer.Option(help="JSON file for what became of it.")] = Path("kill.json"),
) -> None:
    """Send films while the service is killed and disturbed; exit status 1 when anything is lost or doubled."""
    folder.mkdir(parents=True)
    folder = folder.resolve()
    draw = random.Random(seed)  # noqa: S311 - a campaign that can be drawn again
    orders = draw_orders(films, 0.1, draw)
    counts = {"pacs": pacs, "disk": disk, "clock": clock}
    planned = _draw_disturbances(draw, kills, counts, [LISTENER, WORKER, "both", *([SERVE] if serve else [])])
    watch = Clock(folder / "clock", wanted=clock > 0)
    if bundle is None:
        from tests.bundles import write_random_bundle

        bundle = write_random_bundle(folder / "bundle")
    began = time.monotonic()
    with _disk(folder / "data", 1024 if disk else None) as volume:
        site = Site(folder, bundle, watch, as_service=serve)
        modality = Modality(site.settings.listener.port)
        sampler = Sampler(site.settings, lambda: len(modality.acknowledged))
        campaign = _Campaign(site, sampler, watch, volume, draw)
        try:
            site.start()
            modality.start(at_once)
            sampler.start()
            share = -(-len(orders) // max(len(planned), 1))
            for number, what in enumerate(planned):
                first, last = orders[number * share : (number + 1) * share : 2], orders[number * share + 1 :: 2]
                modality.bring(*first)
                campaign.disturb(what, partial(modality.bring, *last[: share // 2]))
            modality.bring(*orders[len(planned) * share :])
            disturbed = time.monotonic() - began
            settled = _settle(campaign, modality, sampler, watch, films)
            found = judge(site.settings, site.pacs, modality.acknowledged)
        finally:
            modality.stop()
            sampler.stop()
            site.stop()
    told = {
        "seed": seed,
        "films": films,
        "done": dict(campaign.done),
        "acknowledged": len(modality.acknowledged),
        "answers": dict(modality.statuses),
        "settled": settled,
        "seconds": {"disturbed": round(disturbed), "in all": round(time.monotonic() - began)},
        "samples": sampler.samples,
        "samples not possible": sampler.not_possible,
        "broken equations": sampler.broken,
        **found,
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()},
    }
    told["ok"] = _is_well(told)
    out.write_text(json.dumps(told, indent=2), encoding="utf-8")
    _print(told)
    if not told["ok"]:
        raise typer.Exit(1)


def _settle(campaign: _Campaign, modality: Modality, sampler: Sampler, clock: Clock, films: int) -> bool:
    """Disturb nothing more, and wait until all is sent, read and delivered."""
    clock.jump(0.0)
    try:
        campaign.wait("all is acknowledged", lambda: len(modality.acknowledged) == films, _SETTLE_SECONDS)
        # Two looks: what was acknowledged a moment ago is not in the first.
        seen = sampler.samples + 2
        campaign.wait("nothing waits", lambda: sampler.samples > seen and not sampler.waiting, _SETTLE_SECONDS)
    except TimeoutError as late:
        Console(stderr=True).print(str(late))
        return False
    return True


def _is_well(told: dict[str, Any]) -> bool:
    nothing = ("broken equations", "lost", "strangers", "duplicates")
    return bool(
        told["settled"]
        and told["acknowledged"] == told["films"]
        and not any(told[name] for name in nothing)
        and all(told["reconciled"].values())
    )


def _print(told: dict[str, Any]) -> None:
    table = Table("what", "how much", title=f"seed {told['seed']}: {'well' if told['ok'] else 'NOT WELL'}")
    for name, value in told.items():
        if name not in ("seed", "ok"):
            counted = len(value) if isinstance(value, list) else value
            shown = ", ".join(f"{k}: {v}" for k, v in counted.items()) if isinstance(counted, dict) else counted
            table.add_row(name, str(shown))
    Console().print(table)


if __name__ == "__main__":
    typer.run(kill)
