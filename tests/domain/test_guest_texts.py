"""SSH keys, startup scripts and user data: good ones pass, bad ones are refused without being repeated."""

import base64
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import (
    MAX_KEYS,
    MAX_SCRIPT,
    MAX_USER_DATA,
    check_ssh_keys,
    check_startup_script,
    check_user_data,
)


def public_key(kind: str = "ssh-ed25519", comment: str = "me@laptop", body: bytes = b"k" * 36) -> str:
    """A well-formed public key of `kind`."""
    raw = struct.pack(">I", len(kind)) + kind.encode() + struct.pack(">I", len(body)) + body
    return f"{kind} {base64.b64encode(raw).decode()} {comment}".strip()


PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0IHNlY3JldA==\n-----END OPENSSH PRIVATE KEY-----\n"
TEN_MEGABYTES = 10 * 1024 * 1024

# -- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"])
def test_a_public_key_is_taken(kind: str) -> None:
    key = public_key(kind)
    assert check_ssh_keys(key) == key


def test_no_key_is_fine() -> None:
    assert check_ssh_keys(" \n\n") == ""


def test_keys_are_normalised_to_one_a_line_without_blank_lines_and_comments() -> None:
    one, two = public_key(comment="one"), public_key(comment="two")
    assert check_ssh_keys(f"\r\n# mine\r\n  {one}  \r\n\r\n{two}\r\n") == f"{one}\n{two}"


def test_a_key_without_comment_is_taken() -> None:
    assert check_ssh_keys(public_key(comment=""))


def test_a_comment_may_be_in_any_language() -> None:
    assert check_ssh_keys(public_key(comment="Jürgens Rechner 北京"))


BAD_KEYS = {
    "a word": "hello",
    "a kind without a body": "ssh-ed25519",
    "a body that is no base64": "ssh-ed25519 !!!! me",
    "a body that is not ASCII": "ssh-ed25519 ÄÄÄÄ me",
    "a body of another kind": "ssh-rsa " + public_key().split()[1],
    "a body that is too short": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me",
    "an old kind": public_key("ssh-dss"),
    "options before the key": f'command="reboot" {public_key()}',
    "a quote in the comment": public_key(comment='me" injected: "yes'),
    "an apostrophe in the comment": public_key(comment="o'hara"),
    "a control character in the comment": public_key(comment="me\x07"),
    "XML": "<key/>",
    "a shell command": "ssh-ed25519 $(reboot) me",
    "the path of a key": "~/.ssh/id_ed25519.pub",
}


@pytest.mark.parametrize("text", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_what_is_no_public_key_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(InvalidInput, match="Line 2 is not an SSH public key") as refused:
        check_ssh_keys(f"{public_key()}\n{text}")
    assert refused.value.field == "ssh_keys"


def test_a_private_key_is_recognised_and_not_repeated() -> None:
    with pytest.raises(InvalidInput, match="This is a private key") as refused:
        check_ssh_keys(PRIVATE)
    assert "c2VjcmV0" not in f"{refused.value.as_dict()}{refused.value.detail}"


def test_a_private_key_among_public_ones_is_recognised() -> None:
    with pytest.raises(InvalidInput, match="private key"):
        check_ssh_keys(f"{public_key()}\n{PRIVATE}")


def test_as_many_keys_as_allowed_are_taken() -> None:
    assert len(check_ssh_keys("\n".join([public_key()] * MAX_KEYS)).splitlines()) == MAX_KEYS


def test_one_key_too_many_is_refused() -> None:
    with pytest.raises(InvalidInput, match=f"At most {MAX_KEYS} SSH keys"):
        check_ssh_keys("\n".join([public_key()] * (MAX_KEYS + 1)))


def test_ten_megabytes_of_keys_are_refused() -> None:
    with pytest.raises(InvalidInput):
        check_ssh_keys("ssh-ed25519 " + "A" * TEN_MEGABYTES)


@given(st.text(max_size=200))
def test_any_text_is_taken_as_keys_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        assert all(line.startswith(("ssh-", "ecdsa-", "sk-")) for line in check_ssh_keys(text).splitlines())


# -- scripts and user data -----------------------------------------------------------------------


@pytest.mark.parametrize("script", ["", "  \n", "#!/bin/sh\necho hello\n", "#!/usr/bin/env python3\n"])
def test_a_startup_script_with_an_interpreter_is_taken(script: str) -> None:
    assert check_startup_script(script) == script


def test_a_startup_script_without_interpreter_is_refused() -> None:
    with pytest.raises(InvalidInput, match="begins with the whole path of its interpreter") as refused:
        check_startup_script("echo hello")
    assert refused.value.field == "startup_script"


MIME = 'Content-Type: multipart/mixed; boundary="x"\n\n--x\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--x--\n'


@pytest.mark.parametrize("data", ["", "#cloud-config\n{}\n", "#!/bin/sh\n", "#include\nhttps://example.org/\n", MIME])
def test_user_data_of_a_known_form_is_taken(data: str) -> None:
    assert check_user_data(data) == data


@pytest.mark.parametrize("data", ["packages: [nginx]", "<xml/>", " #cloud-config", "\ufeff#cloud-config"])
def test_user_data_of_no_known_form_is_refused(data: str) -> None:
    with pytest.raises(InvalidInput, match='starts with "#cloud-config"') as refused:
        check_user_data(data)
    assert refused.value.field == "user_data"


def test_windows_line_ends_become_unix_ones() -> None:
    assert check_startup_script("#!/bin/sh\r\necho hello\r\n") == "#!/bin/sh\necho hello\n"


def test_the_largest_user_data_is_taken() -> None:
    data = "#!/bin/sh\n".ljust(MAX_USER_DATA, "x")
    assert check_user_data(data) == data


@pytest.mark.parametrize(("check", "most"), [(check_user_data, MAX_USER_DATA), (check_startup_script, MAX_SCRIPT)])
def test_ten_megabytes_are_refused_with_both_lengths(check: object, most: int) -> None:
    assert callable(check)
    with pytest.raises(InvalidInput) as refused:
        check("#!" + "x" * TEN_MEGABYTES)
    assert refused.value.text == f"This text has {TEN_MEGABYTES + 2} characters; at most {most} are possible."


@pytest.mark.parametrize("check", [check_user_data, check_startup_script])
def test_a_nul_character_is_refused(check: object) -> None:
    assert callable(check)
    with pytest.raises(InvalidInput, match="NUL"):
        check("#!/bin/sh\n\0")


@pytest.mark.parametrize("check", [check_user_data, check_startup_script])
def test_half_a_character_is_refused(check: object) -> None:
    """JSON can carry a lone surrogate, which neither the database nor the seed can."""
    assert callable(check)
    with pytest.raises(InvalidInput):
        check("#!/bin/sh\n\ud800")
