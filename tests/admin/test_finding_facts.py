"""What is known of a finding, in the words and units of people."""

from typing import Any

import pytest
from django.utils.translation import override

from lifecycle.admin.finding_facts import facts, title


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({}, []),
        ({"pool": "disks", "capacity_bytes": 2**30}, [("pool", "disks"), ("size", "1\xa0GiB")]),
        ({"memory_mib": 512, "cpu_quota_percent": None}, [("memory", "512 MiB"), ("CPU limit", "none")]),
        ({"persistent": True, "mark": ""}, [("defined for good", "yes"), ("mark of the installation", "none")]),
        (
            {"disks": [["vda", "/srv/a.qcow2"], ["vdb", ""]], "disk_bytes": {"vda": 2**20}},
            [("disks", "vda (/srv/a.qcow2), vdb"), ("sizes of the disks", "vda 1\xa0MiB")],
        ),
        (
            {"interfaces": [["52:54:00:00:00:01", "default", ""]]},
            [("network interfaces", "52:54:00:00:00:01 (default)")],
        ),
        ({"boot": ["hd", "network"]}, [("boots from", "hd, network")]),
        (
            {"changes": {"vcpus": {"recorded": 1, "found": 2}, "boot": {"recorded": ["hd"], "found": []}}},
            [("vCPUs", "recorded: 1; found: 2"), ("boots from", "recorded: hd; found: none")],
        ),
        ({"contradiction": "mark_lost"}, []),
    ],
)
def test_each_detail_has_its_words(details: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    with override("en"):
        assert facts(details) == expected


def test_a_finding_is_called_by_the_name_that_people_know() -> None:
    assert title("11111111-1111-4111-8111-111111111111", {"name": "web-1"}) == "web-1"
    assert title("stray.iso", {}) == "stray.iso"
