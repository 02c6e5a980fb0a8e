"""Measuring what the guests of one host use: one bulk call every ten seconds, whatever their number.

Samples of the last hour go to Redis, summaries of five minutes to the database; a sample that somebody looks at is
pushed to them. Without Redis the summaries are still kept.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from lifecycle.domain.usage import (
    FIVE_MINUTES,
    SERIES,
    STEP,
    Counters,
    Summary,
    Values,
    begin_of,
    merge,
    rates,
    summary_of,
    total,
)
from lifecycle.drivers.base import Hypervisor
from lifecycle.models import VM
from lifecycle.realtime import messages, push, recent
from lifecycle.services import usage

log = logging.getLogger(__name__)

#: After Redis failed, nothing is tried for so many seconds: its time-outs must not cost samples.
REDIS_PAUSE: Final = 60.0


@dataclass(slots=True)
class Meter:
    """Measures one host. What it has not written yet is lost with its process: at most five minutes of summaries."""

    host_id: int
    hypervisor: Hypervisor
    _before: dict[UUID, Counters] = field(default_factory=dict)
    _begin: int = 0
    _vms: dict[UUID, Summary] = field(default_factory=dict)
    _places: dict[usage.Place, Summary] = field(default_factory=dict)
    _redis_at: float = 0.0

    def wait_seconds(self) -> float:
        """Until the next sample: at whole multiples of the step, so that sums over hosts meet."""
        return STEP - time.time() % STEP

    def measure(self) -> int:
        """Look at all guests; returns of how many something can be said. Raises `HypervisorError`."""
        counters = self.hypervisor.counters()
        return self.take(int(time.time()), counters)

    def take(self, at: int, counters: Mapping[UUID, Counters]) -> int:
        """Note the counters of the moment `at` (Unix time)."""
        ours = dict(VM.objects.live().filter(host=self.host_id).values_list("pk", "project_id"))
        looked = {vm_id: found for vm_id, found in counters.items() if vm_id in ours}
        values: dict[UUID, Values] = {}
        for vm_id, found in looked.items():
            if (rate := rates(self._before.get(vm_id), found)) is not None:
                values[vm_id] = rate
        self._before = looked
        places = _places(values, ours)
        if not looked:
            places[None] = (0.0,) * len(SERIES)  # a host without guests uses nothing, and that is known
        self._sum_up(at, values, places)
        self._tell(at, values, places)
        return len(values)

    def flush(self) -> None:
        """Write the summaries that are under way; another one's go into the same rows."""
        if self._vms or self._places:
            usage.keep_vms(self._begin, self._vms)
            usage.keep_host(self.host_id, self._begin, self._places)
        self._vms, self._places = {}, {}

    def _sum_up(self, at: int, values: Mapping[UUID, Values], places: Mapping[usage.Place, Values]) -> None:
        begin = begin_of(at, FIVE_MINUTES)
        if begin != self._begin:
            self.flush()
            self._begin = begin
        for vm_id, found in values.items():
            known = self._vms.get(vm_id)
            self._vms[vm_id] = merge(known, summary_of(found)) if known else summary_of(found)
        for place, found in places.items():
            before = self._places.get(place)
            self._places[place] = merge(before, summary_of(found)) if before else summary_of(found)

    def _tell(self, at: int, values: Mapping[UUID, Values], places: Mapping[usage.Place, Values]) -> None:
        """Keep the samples for an hour, and push those that somebody looks at."""
        if time.monotonic() < self._redis_at:
            return
        samples = {recent.vm_subject(vm_id): found for vm_id, found in values.items()}
        for place, found in places.items():
            samples[_subject(place, self.host_id)] = found
        try:
            recent.keep(at, samples)
            recent.keep_latest(self.host_id, at, values)
            watched = recent.watched()
        except recent.Unavailable as error:
            log.warning("host %s: recent usage is not kept for %.0f s: %s", self.host_id, REDIS_PAUSE, error)
            self._redis_at = time.monotonic() + REDIS_PAUSE
            return
        self._push(at, watched, values, places)

    def _push(
        self, at: int, watched: set[str], values: Mapping[UUID, Values], places: Mapping[usage.Place, Values]
    ) -> None:
        """Costs what is looked at, not what there is."""
        found = {recent.vm_subject(vm_id): values[vm_id] for vm_id in values}
        for place, sums in places.items():
            found[recent.host_subject(self.host_id) if place is None else recent.project_subject(place)] = sums
        for subject in watched & found.keys():
            push.usage(subject, messages.usage_message(at, self.host_id, found[subject]))


def _places(values: Mapping[UUID, Values], ours: Mapping[UUID, int]) -> dict[usage.Place, Values]:
    """The host's sum, and each project's, of those guests of which something can be said."""
    by_project: dict[int, list[Values]] = {}
    for vm_id, found in values.items():
        by_project.setdefault(ours[vm_id], []).append(found)
    sums: dict[usage.Place, Values] = {project: total(found) for project, found in by_project.items()}
    if values:
        sums[None] = total(values.values())
    return sums


def _subject(place: usage.Place, host_id: int) -> str:
    return recent.host_subject(host_id) if place is None else recent.part_subject(place, host_id)
