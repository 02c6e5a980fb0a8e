"""The seed's files, read back as cloud-init reads them."""

import base64
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import check_ssh_keys, seed_files
from tests.domain.test_guest_texts import public_key

SCRIPT = "#!/bin/sh\necho 'größe' > /tmp/x: y\n"


def files(**changes: str) -> dict[str, bytes]:
    """The files of a seed with little in it."""
    values = {"instance_id": "iid-1", "hostname": "web-1", "ssh_keys": "", "startup_script": "", "user_data": ""}
    return seed_files(**{**values, **changes})


def read(content: bytes) -> Any:
    return yaml.safe_load(content)


def test_a_seed_has_the_three_files_of_nocloud() -> None:
    assert set(files()) == {"meta-data", "user-data", "vendor-data"}


def test_meta_data_names_instance_and_host() -> None:
    assert read(files()["meta-data"]) == {"instance-id": "iid-1", "local-hostname": "web-1"}


def test_meta_data_carries_the_keys() -> None:
    keys = [public_key(comment="one"), public_key("ssh-rsa", comment="two")]
    assert read(files(ssh_keys="\n".join(keys))["meta-data"])["public-keys"] == keys


@pytest.mark.parametrize("comment", ["home: laptop", "work #1", "- dash", "Jürgen", "a\\b", "{x}", "50% & more"])
def test_a_comment_of_a_key_is_not_read_as_yaml(comment: str) -> None:
    key = public_key(comment=comment)
    assert read(files(ssh_keys=key)["meta-data"])["public-keys"] == [key]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30))
def test_any_comment_that_is_taken_is_read_back(comment: str) -> None:
    with suppress(InvalidInput):
        keys = check_ssh_keys(public_key(comment=comment))
        assert read(files(ssh_keys=keys)["meta-data"])["public-keys"] == [keys]


def test_without_user_data_there_is_an_empty_cloud_config() -> None:
    content = files()["user-data"]
    assert content.startswith(b"#cloud-config\n")
    assert read(content) == {}


def test_user_data_is_passed_through_untouched() -> None:
    data = "#cloud-config\npackages: [nginx]\n# größe\n"
    assert files(user_data=data)["user-data"] == data.encode()


def test_without_a_script_vendor_data_is_an_empty_cloud_config() -> None:
    content = files(startup_script=" \n")["vendor-data"]
    assert content.startswith(b"#cloud-config\n")
    assert read(content) == {}


def test_the_startup_script_is_written_to_run_at_every_boot() -> None:
    content = files(startup_script=SCRIPT)["vendor-data"]
    assert content.startswith(b"#cloud-config\n")
    (written,) = read(content)["write_files"]
    assert written["path"].startswith("/var/lib/cloud/scripts/per-boot/")
    assert written["permissions"] == "0755"
    assert base64.b64decode(written["content"]).decode() == SCRIPT


def test_the_startup_script_does_not_touch_the_users_own_data() -> None:
    assert files(startup_script=SCRIPT, user_data="#!/bin/sh\n")["user-data"] == b"#!/bin/sh\n"
