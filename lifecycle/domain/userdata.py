"""Whether user data and startup scripts can be read by the guest: said with line numbers before anything is made.

Nothing of them is executed here, and no shell is asked: a script is checked for its first line and for characters that
no shell reads, cloud-config by parsing its YAML and by the types of its best-known keys, MIME by taking it apart.
Sources: cloud-init's "User data formats" and "Module reference".
"""

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from email import message_from_string
from email.errors import CloseBoundaryNotFoundDefect, NoBoundaryInMultipartDefect, StartBoundaryNotFoundDefect
from email.message import Message
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lifecycle.domain.errors import InvalidInput

_FIELD: Final = "user_data"
#: More nodes than a person writes; aliases are counted once, and nothing is ever expanded.
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 40
MAX_PARTS: Final = 50

_INTERPRETER: Final = re.compile(r"#!\s*(/\S+)(\s.*)?")
#: Control characters that belong to no text; tab, line feed, form feed and escape may stand in scripts.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")

#: What the guest gives to a part-handler or a template first: what comes out is not known here.
_UNCHECKED: Final = ("## template: jinja", "#cloud-boothook", "#part-handler", "#upstart-job")
_MIME_STARTS: Final = ("content-type:", "mime-version:")

_LISTS: Final = frozenset({"runcmd", "bootcmd", "packages", "write_files", "users", "groups", "mounts"})
_TEXTS: Final = frozenset({"hostname", "fqdn", "timezone", "locale", "password", "final_message"})
_KEY_LISTS: Final = frozenset({"ssh_authorized_keys", "ssh_import_id"})
#: Keys that cloud-init and its modules know: for telling a slip of the pen from a key of somebody's own module.
_KNOWN: Final = (
    *sorted(_LISTS),
    *sorted(_TEXTS),
    *sorted(_KEY_LISTS),
    *(
        "user",
        "ansible",
        "apk_repos",
        "apt",
        "apt_pipelining",
        "autoinstall",
        "byobu_by_default",
        "ca_certs",
        "ca-certs",
    ),
    *("chef", "chpasswd", "cloud_config_modules", "cloud_final_modules", "cloud_init_modules", "datasource"),
    *("device_aliases", "disable_ec2_metadata", "disable_root", "disable_root_opts", "disk_setup", "drivers", "fan"),
    *("fs_setup", "growpart", "grub_dpkg", "keyboard", "landscape", "locale_configfile", "lxd", "manage_etc_hosts"),
    *(
        "manage_resolv_conf",
        "mcollective",
        "merge_how",
        "merge_type",
        "mount_default_fields",
        "network",
        "no_ssh_fingerprints",
    ),
    *("ntp", "output", "package_reboot_if_required", "package_update", "package_upgrade", "phone_home", "power_state"),
    *("prefer_fqdn_over_hostname", "preserve_hostname", "puppet", "random_seed", "reporting", "resize_rootfs"),
    *("resolv_conf", "rh_subscription", "rsyslog", "salt_minion", "snap", "spacewalk", "ssh", "ssh_deletekeys"),
    *("ssh_fp_console_blacklist", "ssh_genkeytypes", "ssh_key_console_blacklist", "ssh_keys", "ssh_publish_hostkeys"),
    *("ssh_pwauth", "ssh_quiet_keygen", "swap", "system_info", "ubuntu_advantage", "unverified_modules", "updates"),
    *("vendor_data", "version", "wireguard", "yum_repo_dir", "yum_repos", "zypper"),
)


def check_script(text: str, field: str, first_line: int = 1) -> None:
    """A script: it names its interpreter by its whole path, and holds no characters that are no text.

    `first_line` is the number of its first line in what the person typed.
    """
    head = text.partition("\n")[0]
    if not _INTERPRETER.fullmatch(head):
        raise InvalidInput(
            "Line %(line)s: a script begins with the whole path of its interpreter, for example #!/bin/sh",
            field=field,
            line=first_line,
        )
    for number, line in enumerate(text.split("\n"), first_line):
        if _CONTROL.search(line):
            raise InvalidInput(
                "Line %(line)s holds a control character: this is not the text of a script.", field=field, line=number
            )


def check_user_data(text: str) -> None:
    """User data in one of the forms that cloud-init reads."""
    if text.lower().startswith(_MIME_STARTS):
        _check_mime(text)
    else:
        _check_part(text, 1)


def _check_part(text: str, first_line: int) -> None:
    head = text.partition("\n")[0].rstrip()
    if head.startswith("#!"):
        check_script(text, _FIELD, first_line)
    elif head.startswith("#include"):
        _check_include(text, first_line)
    elif head.split(" ")[0] in {"#cloud-config", "#cloud-config-archive"}:
        _check_cloud_config(text, first_line, archive=head.startswith("#cloud-config-archive"))
    elif not head.lower().startswith(_UNCHECKED):
        raise InvalidInput(
            'Line %(line)s: user data starts with "#cloud-config", or with "#!" for a script that runs once.',
            field=_FIELD,
            line=first_line,
        )


def _check_include(text: str, first_line: int) -> None:
    """Addresses, one a line."""
    for number, line in enumerate(text.split("\n")[1:], first_line + 1):
        line = line.strip()
        if line and not line.startswith("#") and not re.fullmatch(r"(https?|ftp)://\S+", line):
            raise InvalidInput(
                "Line %(line)s is not an address: #include takes one http or https address a line.",
                field=_FIELD,
                line=number,
            )


# -- MIME ----------------------------------------------------------------------------------------

_MIME_CHECKS: Final[dict[str, Callable[[str, int], None]]] = {
    "text/cloud-config": lambda text, line: _check_cloud_config(text, line),
    "text/cloud-config-archive": lambda text, line: _check_cloud_config(text, line, archive=True),
    "text/x-shellscript": lambda text, line: check_script(text, _FIELD, line),
    "text/x-shellscript-per-boot": lambda text, line: check_script(text, _FIELD, line),
    "text/x-shellscript-per-instance": lambda text, line: check_script(text, _FIELD, line),
    "text/x-shellscript-per-once": lambda text, line: check_script(text, _FIELD, line),
    "text/plain": lambda text, line: _check_part(text, line),
    "text/x-not-multipart": lambda text, line: _check_part(text, line),
}
_MIME_OTHERS: Final = frozenset(
    {"text/jinja2", "text/cloud-boothook", "text/part-handler", "text/x-include-url", "text/x-include-once-url"}
)
_BROKEN: Final = (StartBoundaryNotFoundDefect, CloseBoundaryNotFoundDefect, NoBoundaryInMultipartDefect)


def _check_mime(text: str) -> None:
    message = message_from_string(text)
    if not message.is_multipart() or any(isinstance(defect, _BROKEN) for defect in message.defects):
        raise InvalidInput(
            "This begins as MIME, but its parts cannot be told apart: the header names a boundary, each part begins "
            'with "--" and that boundary, and the last is closed with "--" behind it.',
            field=_FIELD,
        )
    after = 0
    for number, part in enumerate(_leaves(message), 1):
        if number > MAX_PARTS:
            raise InvalidInput("At most %(most)s MIME parts are possible.", field=_FIELD, most=MAX_PARTS)
        after = _check_mime_part(text, part, number, after)


def _leaves(message: Message) -> Iterator[Message]:
    return (part for part in message.walk() if not part.is_multipart())


def _check_mime_part(text: str, part: Message, number: int, after: int) -> int:
    """Check one part that stands behind offset `after`; returns the offset behind it."""
    kind = part.get_content_type()
    raw = str(part.get_payload())
    at = max(after, text.find(raw, after)) if raw else after
    check = _MIME_CHECKS.get(kind)
    if check is None and kind not in _MIME_OTHERS:
        raise InvalidInput(
            "Line %(line)s: part %(number)s has the type %(kind)s, which cloud-init does not know. "
            "Use text/cloud-config or text/x-shellscript.",
            field=_FIELD,
            line=text.count("\n", 0, at) + 1,
            number=number,
            kind=kind,
        )
    decoded = part.get_payload(decode=True)
    content = decoded.decode("utf-8", "replace") if isinstance(decoded, bytes) else raw
    if check is not None:
        check(content, text.count("\n", 0, at) + 1)
    return at + len(raw)


# -- cloud-config --------------------------------------------------------------------------------


def _check_cloud_config(text: str, first_line: int, *, archive: bool = False) -> None:
    root = _parsed(text, first_line)
    if root is None:
        return
    if archive:
        if not isinstance(root, SequenceNode):
            raise _refusal("Line %(line)s: a #cloud-config-archive is a list of parts.", root, first_line)
        return
    if not isinstance(root, MappingNode):
        raise _refusal(
            'Line %(line)s: cloud-config is made of "key: value" lines; this is something else.', root, first_line
        )
    seen: dict[str, int] = {}
    for key, value in root.value:
        name = str(key.value) if isinstance(key, ScalarNode) else ""
        if name in seen:
            raise _refusal(
                "Line %(line)s: the key %(key)s stands in line %(before)s already; only one of them would count.",
                key,
                first_line,
                key=name,
                before=seen[name],
            )
        seen[name] = _line(key, first_line)
        _check_key(name, key, first_line)
        _check_value(name, value, first_line)


def _parsed(text: str, first_line: int) -> Node | None:
    """The YAML's nodes, nothing of it made into objects."""
    try:
        nodes = 0
        loader = yaml.SafeLoader(text)
        try:
            while not loader.check_event(yaml.StreamEndEvent):
                loader.get_event()  # type: ignore[no-untyped-call]  # the stubs leave its types out
                nodes += 1
                if nodes > MAX_NODES or len(loader.states) > MAX_DEPTH * 2:
                    raise InvalidInput("This YAML is too large or nested too deeply to be checked.", field=_FIELD)
        finally:
            loader.dispose()
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidInput(
            "Line %(line)s: this is not valid YAML (%(problem)s).",
            field=_FIELD,
            line=first_line + (mark.line if mark else 0),
            problem=error.problem or error.context or "YAML",
        ) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        position = getattr(error, "position", 0)
        raise InvalidInput(
            "Line %(line)s holds a character that YAML does not allow.",
            field=_FIELD,
            line=first_line + text.count("\n", 0, position),
        ) from None


def _check_key(name: str, node: Node, first_line: int) -> None:
    """An unknown key may be a module's of the guest; one that is nearly a known key is a slip."""
    if name in _KNOWN or not name:
        return
    near = get_close_matches(name, _KNOWN, n=1, cutoff=0.84)
    if near:
        raise _refusal(
            "Line %(line)s: cloud-init knows no key %(key)s. Did you mean %(near)s?",
            node,
            first_line,
            key=name,
            near=near[0],
        )


def _check_value(name: str, value: Node, first_line: int) -> None:
    if value.tag == "tag:yaml.org,2002:null":
        return
    if name in _LISTS and not isinstance(value, SequenceNode):
        if name in {"users", "groups"}:  # these have other forms, too
            return
        raise _refusal("Line %(line)s: %(key)s is a list: each item begins with a hyphen.", value, first_line, key=name)
    if name in _KEY_LISTS and not (isinstance(value, SequenceNode) and _all_text(value)):
        raise _refusal("Line %(line)s: %(key)s is a list of texts.", value, first_line, key=name)
    if name in _TEXTS and not isinstance(value, ScalarNode):
        raise _refusal("Line %(line)s: %(key)s is one word or text.", value, first_line, key=name)
    for item in value.value if name in _ITEM_CHECKS else ():
        _ITEM_CHECKS[name](item, first_line)


def _check_command(item: Node, first_line: int) -> None:
    if isinstance(item, MappingNode):
        raise _refusal(
            "Line %(line)s: a command is a text or a list of words. A colon with a space behind it makes "
            "something else of it: put the command in quotes.",
            item,
            first_line,
        )


def _all_text(value: SequenceNode) -> bool:
    return all(isinstance(item, ScalarNode) for item in value.value)


def _check_file(item: Node, first_line: int) -> None:
    fields = {str(k.value): v for k, v in item.value} if isinstance(item, MappingNode) else {}
    path = fields.get("path")
    if not isinstance(path, ScalarNode) or not str(path.value).startswith("/"):
        raise _refusal(
            "Line %(line)s: a file to write needs its whole path, for example path: /etc/motd", item, first_line
        )
    mode = fields.get("permissions")
    if isinstance(mode, ScalarNode) and mode.tag == "tag:yaml.org,2002:int":
        raise _refusal(
            "Line %(line)s: put permissions in quotes, for example '0644': YAML makes another number of it.",
            mode,
            first_line,
        )


_ITEM_CHECKS: Final[dict[str, Callable[[Node, int], None]]] = {
    "runcmd": _check_command,
    "bootcmd": _check_command,
    "write_files": _check_file,
}


def _line(node: Node, first_line: int) -> int:
    return first_line + int(node.start_mark.line)


def _refusal(template: str, node: Node, first_line: int, **params: Any) -> InvalidInput:
    return InvalidInput(template, field=_FIELD, line=_line(node, first_line), **params)
