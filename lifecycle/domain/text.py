"""Texts for people that are kept in English and translated when somebody reads them.

The domain knows no gettext: it marks, and the command that collects messages finds the marks. Most texts are their
own message id. Some are filled in before they are kept (a reason that quotes an error): `taken_apart` finds the
template and its values again.
"""

import re
from functools import cache
from typing import Final


def mark(text: str) -> str:
    """`text` itself: the name is what the collection of messages looks for."""
    return text


#: Templates that are filled in before they are kept. Longer ones first: the first that fits is taken.
FILLED: Final = (
    mark("%(cause)s It could not be started again: %(why)s"),
    mark("%(cause)s It is not restarted again: it crashed after each of its last restarts."),
    mark("%(cause)s It is switched off: this came back after each of its last repairs."),
    mark("%(cause)s It is not restarted: automatic restart is off."),
    mark("%(cause)s An operator gave its repair up."),
    mark("The start failed: %(why)s"),
    mark("The resume failed: %(why)s"),
    mark("The suspend failed: %(why)s"),
    mark("%(wanted)s vCPUs wanted, %(free)s free"),
    mark("%(wanted)s MiB of memory wanted, %(free)s free"),
    mark("%(wanted)s GiB of disk wanted, %(free)s free"),
    mark("the host is %(has)s, the image needs %(needs)s"),
    mark("KVM is offered, but %(failure)s; %(control)s."),
    mark("libvirt offers no KVM on this host; %(control)s."),
    mark("libvirt offers KVM; guests of %(architecture)s are not probed."),
    mark("a probe guest executed nothing within %(seconds)s seconds"),  # the wording of versions before
    mark("a probe guest did not get through within %(seconds)s seconds"),
    mark("a probe guest did not start (%(error)s)"),
    mark("under emulation, too, %(failure)s"),
    mark("the receiver answered with status %(status)s"),
    mark("the name %(host)s could not be resolved (%(error)s)"),
    mark("no secure connection to %(host)s (%(error)s)"),
    mark("%(host)s does not answer (%(error)s)"),
)

#: Values that are whole numbers, so that one of several texts in a row does not swallow the next.
_NUMBERS: Final = frozenset({"wanted", "free", "seconds"})

#: Texts that are kept as they are, by code that does not mark them.
KEPT: Final = (
    mark("A probe guest executed with KVM."),
    mark("the same guest executes under emulation"),
    mark("guests are emulated"),
    mark("QEMU ended before a probe guest had executed"),
    mark("QEMU could not carry out what a probe guest executes, and stopped it"),
    mark("the webhook was switched off"),
    mark("the receiver is at a private address, which is not allowed"),
    mark("the receiver's certificate is not valid"),
    mark("its address is none"),
    mark("an internal error"),
)


def taken_apart(text: str) -> tuple[str, dict[str, str]] | None:
    """The template that `text` was made from, and its values; None when it was made from none of `FILLED`."""
    for template, pattern in _patterns():
        if found := pattern.fullmatch(text):
            return template, found.groupdict()
    return None


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((template, re.compile(_as_pattern(template), re.DOTALL)) for template in FILLED)


def _as_pattern(template: str) -> str:
    parts = re.split(r"%\((\w+)\)s", template)
    return "".join(re.escape(part) if i % 2 == 0 else _value_pattern(part) for i, part in enumerate(parts))


def _value_pattern(name: str) -> str:
    return f"(?P<{name}>{r'[0-9]+' if name in _NUMBERS else '.+?'})"
