"""Faults, put where the engine speaks to a host and between a step's effect and its record."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lifecycle.domain.errors import Broken
from lifecycle.models import Operation
from lifecycle.operations import engine, registry
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition, Outcome, Step


class Death(BaseException):
    """A worker dies here: no handler of the product sees it, and nothing more is written."""


@dataclass
class Fault:
    """What happens at a verb: `act` is called before or after its effect, so many times."""

    verb: str
    act: Callable[[], Any]
    after: bool = False
    times: int = 10**9


class Proxy:
    """The real hypervisor with faults before or after chosen verbs; remembers calls and address bindings.

    libvirt's test driver keeps no DHCP reservations; here they can be compared all the same.
    """

    def __init__(self, real: Any) -> None:
        self._real = real
        self.faults: list[Fault] = []
        self.replaced: dict[str, Callable[..., Any]] = {}
        self.calls: list[str] = []
        self.bindings: dict[tuple[str, str], str] = {}

    def at(self, verb: str, act: Callable[[], Any], *, after: bool = False, times: int = 10**9) -> None:
        """Call `act` at the verb."""
        self.faults.append(Fault(verb, act, after, times))

    def fail(self, verb: str, error: Exception | None = None, *, after: bool = False, times: int = 10**9) -> None:
        """Raise at the verb."""
        self.at(verb, _raiser(error or Broken(f"injected at {verb}")), after=after, times=times)

    def instead(self, verb: str, work: Callable[..., Any]) -> None:
        """The verb does `work` and nothing else."""
        self.replaced[verb] = work

    def __getattr__(self, name: str) -> Any:
        attribute = self.replaced.get(name) or getattr(self._real, name)
        if not callable(attribute):
            return attribute

        def verb(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            self._meet(name, after=False)
            answer = attribute(*args, **kwargs)
            self._note(name, args)
            self._meet(name, after=True)
            return answer

        return verb

    def _meet(self, name: str, *, after: bool) -> None:
        for fault in self.faults:
            if fault.verb == name and fault.after is after and fault.times > 0:
                fault.times -= 1
                fault.act()

    def _note(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "bind_address":
            self.bindings[args[0], args[1].mac] = str(args[1].ip)
        elif name == "unbind_address":
            self.bindings.pop((args[0], args[1]), None)


def _raiser(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


# -- between a step's effect and its record ------------------------------------------------------


def after_effect(index: int, act: Callable[[Operation], Any], *, undoing: bool = False, times: int = 1) -> None:
    """Call `act` after the effect of the step at `index`, before it is recorded. A fixture takes it away again."""
    left = times

    def hook(operation: Operation, _step: Step, is_undo: bool) -> None:
        nonlocal left
        if operation.step_index == index and is_undo is undoing and left > 0:
            left -= 1
            act(operation)

    engine.after_effect = hook


def die(_operation: Operation) -> None:
    """For `after_effect`."""
    raise Death


def run_and_die(operation: Operation) -> bool:
    """Run the operation; whether the worker died meanwhile."""
    with suppress(Death):
        engine.run(operation.pk)
        return False
    return True


# -- steps that are changed ----------------------------------------------------------------------


def changed(action: str, index: int, change: Callable[[Step], Step]) -> Definition:
    """The operation's definition with one step changed."""
    definition = registry.DEFINITIONS[action]
    steps = list(definition.steps)
    steps[index] = change(steps[index])
    return replace(definition, steps=tuple(steps))


def done_twice(step: Step) -> Step:
    """Its work happens twice in a row each time."""
    return replace(step, do=_twice(step.do))


def undone_twice(step: Step) -> Step:
    """Its undo happens twice in a row each time."""
    return replace(step, undo=_twice(step.undo)) if step.undo else step


def failing(error: Exception, *, after: bool) -> Callable[[Step], Step]:
    """The step fails each time: before its effect, or after it."""

    def change(step: Step) -> Step:
        def work(context: Context) -> Outcome:
            if after:
                step.do(context)
            raise error

        return replace(step, do=work)

    return change


def _twice(work: Callable[[Context], Outcome]) -> Callable[[Context], Outcome]:
    def twice(context: Context) -> Outcome:
        work(context)
        context.reload()
        return work(context)

    return twice
