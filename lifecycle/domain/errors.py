"""Errors as types: a stable code, an HTTP status, a text for the user, a text for the operator.

Two families. `DomainError`: a request that is refused, at once, with nothing changed.
`HypervisorError`: what the edge (drivers) makes of a hypervisor's complaints; the retry policy is
data on the class, so that the engine asks the error and never parses a message.

Texts are English source strings with named placeholders; the web layer translates the template
(`message`) and then fills in `params`.
"""

from typing import Any, ClassVar

from lifecycle.domain.text import mark


class DomainError(Exception):
    """A refused request. `message % params` is for the user; `detail` is for operators."""

    code: ClassVar[str] = "INVALID"
    http_status: ClassVar[int] = 400

    def __init__(self, message: str, *, field: str = "", detail: str = "", **params: Any) -> None:
        self.message = message
        self.params = params
        self.field = field
        self.detail = detail
        super().__init__(self.text)

    @property
    def text(self) -> str:
        """The untranslated message with its values."""
        return self.message % self.params if self.params else self.message

    def as_dict(self) -> dict[str, Any]:
        """The shape kept on an operation and sent to clients."""
        return {
            "code": self.code,
            "message": self.text,
            "template": self.message,
            "params": {k: str(v) for k, v in self.params.items()},
            "field": self.field,
        }


class InvalidInput(DomainError):
    """A field is wrong; `field` names it."""

    code = "INVALID_INPUT"


class NotFound(DomainError):
    """No such object, or none this user may see: the two are never told apart."""

    code = "NOT_FOUND"
    http_status = 404


class Forbidden(DomainError):
    """The user sees the object but their role does not allow the action."""

    code = "FORBIDDEN"
    http_status = 403


class NameTaken(DomainError):
    """The project already has a live object of that name."""

    code = "ALREADY_EXISTS"
    http_status = 409


class ActionNotAllowed(DomainError):
    """The transition table does not allow the action in the VM's state."""

    code = "ACTION_NOT_ALLOWED"
    http_status = 409


class OperationInProgress(DomainError):
    """Another operation works on the VM and this action may not preempt it."""

    code = "OPERATION_IN_PROGRESS"
    http_status = 409


class StateConflict(DomainError):
    """A conditional update found another value than expected: somebody was faster."""

    code = "STATE_CONFLICT"
    http_status = 409


class DeletionProtected(DomainError):
    """Deletion protection is on."""

    code = "DELETION_PROTECTED"
    http_status = 409


class ConditionNotMet(DomainError):
    """The change was made of another version of what it changes."""

    code = "CONDITION_NOT_MET"
    http_status = 412


class QuotaExceeded(DomainError):
    """The project's quota refuses; params: metric, limit, usage, requested, scope."""

    code = "QUOTA_EXCEEDED"
    http_status = 403


class BudgetExceeded(DomainError):
    """A budget of the project forbids new VMs; params: name, percent, spent, amount."""

    code = "BUDGET_EXCEEDED"
    http_status = 403


class ResourcePoolExhausted(DomainError):
    """No host has room; params carry the reasons, host by host."""

    code = "ZONE_RESOURCE_POOL_EXHAUSTED"
    http_status = 503

    def __init__(self, message: str, *, reasons: dict[str, str] | None = None, **params: Any) -> None:
        super().__init__(message, **params)
        self.reasons = reasons or {}

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "reasons": self.reasons}


class OperationPreempted(DomainError):
    """A stop or a delete took over."""

    code = "OPERATION_PREEMPTED"
    http_status = 409


class OperationCancelled(DomainError):
    """Somebody cancelled it; what it did was undone."""

    code = "OPERATION_CANCELLED"
    http_status = 409


class RequestIdReused(DomainError):
    """The request id belongs to an operation that was asked for with another content."""

    code = "REQUEST_ID_REUSED"
    http_status = 409


class StepFailed(DomainError):
    """A step of an operation gave up; the text says which and why."""

    code = "STEP_FAILED"
    http_status = 500


class DeadlineExceeded(DomainError):
    """A wait ended without what it waited for."""

    code = "DEADLINE_EXCEEDED"
    http_status = 504


class HypervisorError(Exception):
    """What the hypervisor edge raises, translated. `retry` says whether the same call may succeed later.

    Attributes:
        retry: the engine repeats the step with back-off.
        user_text: what a tenant may read; the exception's own text is for operators.
    """

    code: ClassVar[str] = "HYPERVISOR_ERROR"
    retry: ClassVar[bool] = False
    user_text: ClassVar[str] = mark("The host reported an error.")


class Transient(HypervisorError):
    """The host or the connection to it does not answer now; later it may."""

    code = "HOST_UNAVAILABLE"
    retry = True
    user_text = mark("The host does not answer at the moment.")


class Busy(HypervisorError):
    """The host works on something else for this domain, or is at its limit of calls."""

    code = "HOST_BUSY"
    retry = True
    user_text = mark("The host is busy.")


class Held(Busy):
    """Another call on this domain does not end; libvirt waited for it, half a minute. Its QEMU may hang."""


class Gone(HypervisorError):
    """The thing is not there (any more). For an undo this is success."""

    code = "NOT_ON_HOST"
    user_text = mark("The VM is not on its host any more.")


class Refused(HypervisorError):
    """The hypervisor will not do this: wrong configuration, no disk space, unsupported."""

    code = "HOST_REFUSED"
    user_text = mark("The host refused the request.")


class OutOfSpace(Refused):
    """The storage pool is full."""

    code = "HOST_DISK_FULL"
    user_text = mark("The host's storage is full.")


class Broken(HypervisorError):
    """An internal error of the hypervisor, or an answer that makes no sense."""

    code = "HOST_INTERNAL_ERROR"
    user_text = mark("The host had an internal error.")
