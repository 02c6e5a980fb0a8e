"""What a step gets: its rows, its host, and writes that are fenced by the lease."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from lifecycle.domain.errors import Broken, OperationCancelled
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.drivers.base import DomainSpec, DomainView, Hypervisor, ImageRef, NetworkSpec
from lifecycle.models import VM, Host, Image, Operation
from lifecycle.operations import hosts
from lifecycle.operations.drain import drain
from lifecycle.services import definitions, operations
from lifecycle.services.operations import LostLease
from lifecycle.services.transitions import move

_DRIVE = ("cdrom", "next_cdrom")


class Drained(LostLease):
    """This process ends and the step had its time: it is left between two calls, and the lease given back."""


class Context:
    """One run of one operation by one worker under one lease token."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.token = operation.lease_token
        self.lost = threading.Event()
        #: the domain as the last step saw it, for the writes at the end
        self.seen: DomainView | None = None
        self._vm: VM | None = None

    # -- rows

    @property
    def vm(self) -> VM:
        """The VM as it was last read in this run."""
        if self._vm is None:
            related = ("project", "project__network", "host", "zone", "image", "machine_type", "address", *_DRIVE)
            self._vm = VM.objects.select_related(*related).get(pk=self.operation.vm_id)
        return self._vm

    @property
    def state(self) -> State:
        """The VM's state as last read."""
        return self.vm.lifecycle_state

    def reload(self) -> None:
        """Read the VM again at its next use."""
        self._vm = None

    def recall(self, key: str, default: Any = None) -> Any:
        """What an earlier step or run of this operation remembered."""
        return self.operation.data.get(key, default)

    def why_failed(self, what: str) -> str:
        """The reason for people after everything was undone: `what` failed and why, or who cancelled it."""
        error = self.recall("error") or {}
        message = str(error.get("message", ""))
        return message if error.get("code") == OperationCancelled.code else f"{what}: {message}"

    # -- the host

    @property
    def placed_on(self) -> Host:
        """The host that holds, or will hold, the VM. Raises `Broken` when there is none."""
        if self.vm.host is None:
            raise Broken(f"VM {self.vm.id} is on no host")
        return self.vm.host

    def host(self) -> Hypervisor:
        """The VM's host, after looking that the lease is still ours: asked before each hypervisor call.

        Raises:
            LostLease: another worker took over.
            Broken: the VM is on no host.
        """
        self.check_lease()
        return hosts.connect(self.placed_on.uri)

    def check_lease(self) -> None:
        """Raise `LostLease` when the lease is not ours any more, `Drained` when this process has to end."""
        if drain.is_over:
            raise Drained(str(self.operation.pk))
        if self.lost.is_set() or not operations.holds(self.operation.pk, self.token):
            raise LostLease(str(self.operation.pk))

    # -- writes

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that happens only while the lease is ours."""
        with operations.fenced(self.operation, self.token):
            yield
        self.reload()

    def remember(self, **values: Any) -> None:
        """Keep JSON values for later runs."""
        with self.writing():
            operations.remember(self.operation, **values)

    def expect_end(self, step: str, seconds: float) -> None:
        """Say that `step` ought to be over in so many seconds, sooner than its deadline: later an operator is told."""
        by = timezone.now() + timedelta(seconds=seconds)
        self.remember(expected={"step": step, "by": by.isoformat()})

    def move(
        self,
        source: State | set[State],
        target: State | None,
        *,
        reason: str = "",
        occurred_at: datetime | None = None,
        **fields: Any,
    ) -> None:
        """Move the VM in the name of this operation. The caller is inside `writing`."""
        move(
            self.operation.vm_id,
            Action(self.operation.action),
            source,
            target,
            asked_by=Asker(self.operation.asked_by),
            operation=self.operation,
            user=self.operation.user,
            reason=reason,
            occurred_at=occurred_at,
            **fields,
        )
        self.reload()

    # -- what the host is asked for

    def network_spec(self) -> NetworkSpec:
        """The project's network as the host should have it."""
        return NetworkSpec(**definitions.network_values(self.vm))

    def image_ref(self) -> ImageRef | None:
        """The golden image that the disk stands on; None for a VM that was made from a CD: its disk begins empty."""
        return None if self.vm.made_from_cd else _ref(self.vm.image)

    def image_refs(self) -> list[tuple[int, ImageRef]]:
        """All that must be on the host before the VM starts, with the images' ids: what its disk and its drive need."""
        wanted = [None if self.vm.made_from_cd else self.vm.image, self.vm.next_cdrom]
        return [(image.pk, _ref(image)) for image in wanted if image is not None]

    def domain_spec(self) -> DomainSpec:
        """The whole definition of the VM. `Refused` for one that was adopted; `Broken` on no host."""
        self.placed_on  # noqa: B018  # says so when there is none
        return DomainSpec(**definitions.domain_values(self.vm), network=self.network_spec())


def _ref(image: Image) -> ImageRef:
    return ImageRef(image.file_name, image.size_bytes, image.sha256, image.format)
