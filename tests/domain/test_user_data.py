"""What a guest could not read is refused with its line before anything is made; what it can read passes."""

import base64

import pytest

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import check_startup_script, check_user_data

MIME = """\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="edge"

--edge
Content-Type: text/cloud-config

{config}
--edge
Content-Type: text/x-shellscript

{script}
--edge--
"""

GOOD = {
    "nothing": "",
    "empty cloud-config": "#cloud-config\n",
    "a mapping in one line": "#cloud-config\n{}\n",
    "windows line ends": "#cloud-config\r\nhostname: a\r\n",
    "commands of both kinds": "#cloud-config\nruncmd:\n- echo hello\n- [sh, -c, 'echo a: b']\n",
    "an empty list": "#cloud-config\npackages:\n",
    "users in any form": "#cloud-config\nusers: default\ngroups: {admin: [me]}\n",
    "a key of somebody's own module": "#cloud-config\nfrobnicator: {x: 1}\n",
    "anchors": "#cloud-config\na: &keys [one, two]\nb: *keys\n",
    "permissions in quotes": "#cloud-config\nwrite_files:\n- path: /etc/motd\n  permissions: '0644'\n",
    "a script": "#!/bin/sh\necho hello\n",
    "a script with env": "#!/usr/bin/env python3\nprint(1)\n",
    "addresses": "#include\nhttps://example.org/one\n# a word\n\nhttp://example.org/two\n",
    "a template": "## template: jinja\n#cloud-config\nhostname: {{ v1.region }}\n",
    "a boothook": "#cloud-boothook\n#!/bin/sh\ntrue\n",
    "an archive": "#cloud-config-archive\n- type: text/cloud-config\n  content: x\n",
    "parts": MIME.format(config="#cloud-config\nhostname: a", script="#!/bin/sh\ntrue"),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_what_cloud_init_reads_passes(text: str) -> None:
    assert check_user_data(text) == text.replace("\r\n", "\n")


BAD = {
    "no header": ("hello", 1, "#cloud-config"),
    "a header of nothing": ("#cloudconfig\n", 1, "#cloud-config"),
    "a bracket that stays open": ("#cloud-config\na: 1\nb: [1, 2\n", 4, "YAML"),
    "a tab": ("#cloud-config\nruncmd:\n\t- true\n", 3, "YAML"),
    "a stray quote": ("#cloud-config\nhostname: 'a\n", 3, "YAML"),
    "a control character": ("#cloud-config\nhostname: a\nx: \x07\n", 3, "character"),
    "a list on top": ("#cloud-config\n- one\n", 2, "key: value"),
    "a slip of the pen": ("#cloud-config\nhostname: a\nrun_cmd: [true]\n", 3, "runcmd"),
    "a key twice": ("#cloud-config\nruncmd: [a]\nhostname: x\nruncmd: [b]\n", 4, "line 2"),
    "a command with a colon": ("#cloud-config\nruncmd:\n- true\n- echo a: b\n", 4, "quotes"),
    "a text for a list": ("#cloud-config\npackages: vim\n", 2, "list"),
    "a list for a text": ("#cloud-config\nhostname: [a]\n", 2, "hostname"),
    "keys that are no texts": ("#cloud-config\nssh_authorized_keys:\n- {a: b}\n", 3, "ssh_authorized_keys"),
    "a file without a path": ("#cloud-config\nwrite_files:\n- content: x\n", 3, "path"),
    "a relative path": ("#cloud-config\nwrite_files:\n- path: etc/motd\n", 3, "path"),
    "permissions as a number": ("#cloud-config\nwrite_files:\n- path: /a\n  permissions: 0644\n", 4, "quotes"),
    "a script without a path": ("#!sh\ntrue\n", 1, "interpreter"),
    "a program": ("#!/bin/sh\n\x7fELF\x01\x02\n", 2, "control character"),
    "an address that is none": ("#include\nhttps://example.org/\nfile:///etc/passwd\n", 3, "address"),
    "an archive that is no list": ("#cloud-config-archive\na: b\n", 2, "list"),
    "a wrong config part": (MIME.format(config="#cloud-config\nruncmd: x", script="#!/bin/sh"), 8, "runcmd"),
    "a wrong script part": (MIME.format(config="#cloud-config\nhostname: a", script="echo"), 12, "interpreter"),
}


@pytest.mark.parametrize(("text", "line", "word"), BAD.values(), ids=BAD.keys())
def test_what_it_cannot_read_is_refused_with_its_line(text: str, line: int, word: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_user_data(text)
    assert refused.value.field == "user_data"
    assert refused.value.params["line"] == line
    assert word in refused.value.text


def test_a_part_in_base64_is_read_too() -> None:
    body = base64.b64encode(b"echo no interpreter\n").decode()
    text = MIME.format(config="#cloud-config", script="#!/bin/sh").replace(
        "text/x-shellscript\n\n#!/bin/sh", f"text/x-shellscript\nContent-Transfer-Encoding: base64\n\n{body}"
    )
    with pytest.raises(InvalidInput, match="interpreter"):
        check_user_data(text)


@pytest.mark.parametrize(
    "text",
    [
        "MIME-Version: 1.0\nContent-Type: text/plain\n\nhello\n",
        "Content-Type: multipart/mixed\n\n--x\n\nhello\n",
        MIME.format(config="#cloud-config", script="#!/bin/sh").replace("--edge--", ""),
    ],
    ids=["no parts", "no boundary", "not closed"],
)
def test_mime_without_parts_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="parts cannot be told apart"):
        check_user_data(text)


def test_a_part_of_an_unknown_type_is_named() -> None:
    text = MIME.format(config="#cloud-config", script="#!/bin/sh").replace("text/x-shellscript", "application/zip")
    with pytest.raises(InvalidInput, match="application/zip"):
        check_user_data(text)


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 3000, "- " * 5000, "x: [" + "1," * 100_000 + "]"])
def test_yaml_that_is_meant_to_exhaust_the_reader_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_user_data("#cloud-config\n" + text)


def test_a_billion_laughs_are_not_laughed() -> None:
    lines = ["#cloud-config", "a0: &a0 [lol, lol]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    assert check_user_data("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "line"),
    [("true", 1), ("#! sh\n", 1), ("\n#!/bin/sh\n", 1), ("#!/bin/sh\necho\n\x00", 0), ("#!/bin/sh\n\x01", 2)],
)
def test_a_startup_script_that_no_kernel_starts_is_refused(text: str, line: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_startup_script(text)
    assert refused.value.field == "startup_script"
    assert refused.value.params.get("line", 0) == line


def test_a_script_with_windows_line_ends_becomes_one_that_runs() -> None:
    assert check_startup_script("#!/bin/sh\r\ntrue\r\n") == "#!/bin/sh\ntrue\n"
