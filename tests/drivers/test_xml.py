"""Definitions, compared element by element."""

from dataclasses import replace

import pytest

from lifecycle.drivers.base import DomainSpec
from lifecycle.drivers.libvirt.filter_xml import filter_xml
from lifecycle.drivers.libvirt.guest_xml import Places, domain_xml
from lifecycle.drivers.libvirt.names import METADATA
from lifecycle.drivers.libvirt.network_xml import network_xml
from lifecycle.drivers.libvirt.xml import Element, parse
from tests.drivers.lab import domain_spec, network_spec

PLACES = Places("/d/disk.qcow2", "/d/seed.iso", "/s/serial.log", ("/i/golden.qcow2", "qcow2"))


@pytest.fixture
def spec() -> DomainSpec:
    return domain_spec("abcdef", network_spec("abcdef"))


def built(spec: DomainSpec, places: Places = PLACES, *, test: bool = False) -> Element:
    return parse(domain_xml(spec, places, test=test))


def attributes(tree: Element, path: str) -> dict[str, str]:
    found = tree.find(path)
    assert found is not None, path
    return {str(name): str(value) for name, value in found.attrib.items()}


def test_the_disk_is_an_overlay_of_a_base_that_qemu_does_not_own(spec: DomainSpec) -> None:
    tree = built(spec)
    disk = "devices/disk[1]"
    assert attributes(tree, f"{disk}/driver") == {
        "name": "qemu",
        "type": "qcow2",
        "error_policy": "stop",
        "discard": "unmap",
        "detect_zeroes": "off",
    }
    assert attributes(tree, f"{disk}/backingStore/source") == {"file": "/i/golden.qcow2"}
    assert attributes(tree, f"{disk}/backingStore/source/seclabel") == {"model": "dac", "relabel": "no"}
    assert tree.find(f"{disk}/backingStore/backingStore") is not None


def test_the_seed_is_a_read_only_second_disk(spec: DomainSpec) -> None:
    tree = built(spec)
    assert attributes(tree, "devices/disk[2]/source") == {"file": "/d/seed.iso"}
    assert attributes(tree, "devices/disk[2]/target") == {"dev": "vdb", "bus": "virtio"}
    assert tree.find("devices/disk[2]/readonly") is not None


def test_the_interface_carries_the_vms_own_filter(spec: DomainSpec) -> None:
    tree = built(spec)
    assert attributes(tree, "devices/interface/filterref") == {"filter": f"vmp-abcdef-{spec.uuid}"}
    assert attributes(tree, "devices/interface/mac") == {"address": spec.mac}
    assert attributes(tree, "devices/interface/source") == {"network": spec.network.name}


def test_graphics_open_no_tcp_port(spec: DomainSpec) -> None:
    assert attributes(built(spec), "devices/graphics") == {"type": "vnc"}
    assert attributes(built(spec), "devices/graphics/listen") == {"type": "socket"}


def test_the_serial_log_is_appended_to(spec: DomainSpec) -> None:
    assert attributes(built(spec), "devices/serial/log") == {"file": "/s/serial.log", "append": "on"}


def test_a_panic_is_told_and_ends_the_domain(spec: DomainSpec) -> None:
    tree = built(spec)
    assert tree.findtext("on_crash") == "destroy"
    assert attributes(tree, "devices/panic") == {"model": "isa"}
    assert (tree.findtext("on_poweroff"), tree.findtext("on_reboot")) == ("destroy", "restart")


def test_metadata_says_whose_it_is(spec: DomainSpec) -> None:
    mark = attributes(built(replace(spec, generation=7)), f"metadata/{{{METADATA}}}vm")
    assert mark == {"installation": "abcdef", "project": "lab", "name": "web", "generation": "7"}


def test_a_shared_core_has_a_quota_and_a_share_in_proportion(spec: DomainSpec) -> None:
    tree = built(replace(spec, cpu_quota_percent=25))
    assert [tree.findtext(f"cputune/{tag}") for tag in ("shares", "period", "quota")] == ["25", "100000", "25000"]
    whole = built(replace(spec, vcpus=4))
    assert whole.findtext("cputune/shares") == "400"
    assert whole.find("cputune/quota") is None


def test_emulation_and_kvm_differ_where_they_must(spec: DomainSpec) -> None:
    emulated, accelerated = built(spec), built(replace(spec, domain_type="kvm"))
    assert emulated.findtext("cpu/model") == "qemu64"
    assert emulated.findtext("features/tcg/tb-cache") == "64"
    assert attributes(accelerated, "cpu") == {"mode": "host-model"}
    assert accelerated.find("features/tcg") is None
    for tree in (emulated, accelerated):
        assert attributes(tree, "clock/timer[@name='hpet']") == {"name": "hpet", "present": "no"}


def test_the_test_driver_gets_neither_filter_nor_emulator(spec: DomainSpec) -> None:
    tree = built(spec, Places("/d/disk.qcow2", "/d/seed.iso", None), test=True)
    assert tree.get("type") == "test"
    assert tree.find("devices/interface/filterref") is None
    assert tree.find("devices/serial/log") is None


@pytest.mark.parametrize("text", ["</title><evil/>", "a & b", "\"'<>", "é ☃"])
def test_text_stays_text(spec: DomainSpec, text: str) -> None:
    tree = built(replace(spec, title=text, vm_name=text))
    assert tree.findtext("title") == text
    assert tree.find(".//evil") is None
    assert attributes(tree, f"metadata/{{{METADATA}}}vm")["name"] == text


def test_the_network_is_nat_with_quick_leases_and_no_ipv6(spec: DomainSpec) -> None:
    tree = parse(network_xml(spec.network))
    cidr = spec.network.cidr
    assert attributes(tree, "forward") == {"mode": "nat"}
    assert attributes(tree, "ip") == {"address": str(cidr[1]), "prefix": "24"}
    assert attributes(tree, "ip/dhcp/range") == {"start": str(cidr[2]), "end": str(cidr[254])}
    assert attributes(tree, "ip/dhcp/range/lease") == {"expiry": "2", "unit": "minutes"}
    options = tree.iterfind("{http://libvirt.org/schemas/network/dnsmasq/1.0}options/*")
    assert [option.get("value") for option in options] == ["no-ping"]
    assert len(list(tree.iterfind("ip"))) == 1


def rules(spec: DomainSpec) -> list[tuple[str, str, dict[str, str]]]:
    """(action, protocol, match) in order of priority."""
    found = sorted(parse(filter_xml(spec)).iterfind("rule"), key=lambda rule: int(rule.get("priority", "")))
    assert all(rule.get("direction") == "out" for rule in found)
    return [(rule.get("action", ""), str(rule[0].tag), {str(k): str(v) for k, v in rule[0].items()}) for rule in found]


def test_the_filter_starts_with_who_the_guest_may_be(spec: DomainSpec) -> None:
    assert rules(spec)[:5] == [
        ("drop", "mac", {"match": "no", "srcmacaddr": spec.mac}),
        ("accept", "arp", {"arpsrcmacaddr": spec.mac, "arpsrcipaddr": str(spec.ip)}),
        ("drop", "mac", {"match": "no", "protocolid": "ipv4"}),
        (
            "accept",
            "ip",
            {"protocol": "udp", "dstipaddr": "255.255.255.255", "srcportstart": "68", "dstportstart": "67"},
        ),
        ("drop", "ip", {"match": "no", "srcipaddr": str(spec.ip)}),
    ]


def test_the_gateway_and_protected_addresses_are_dropped_in_the_right_order(spec: DomainSpec) -> None:
    protected = replace(spec, protected_addresses=("192.0.2.7", "fd00::1", "10.0.0.0/8", "192.0.2.7"))
    steps = [(action, match.get("dstipaddr"), match.get("dstipmask")) for action, _p, match in rules(protected)]
    own = str(spec.network.cidr.network_address)
    gateway = steps.index(("drop", str(spec.network.gateway), None))
    assert gateway < steps.index(("accept", own, "24")) < steps.index(("drop", "10.0.0.0", "8"))
    assert steps.count(("drop", "192.0.2.7", "32")) == 1
    assert steps[-1] == ("drop", "10.0.0.0", "8")


def test_a_definition_made_twice_is_the_same(spec: DomainSpec) -> None:
    assert filter_xml(spec) == filter_xml(spec)
    assert network_xml(spec.network) == network_xml(spec.network)


def test_bios_is_what_a_domain_has_when_nothing_is_said(spec: DomainSpec) -> None:
    tree = built(spec)
    assert "firmware" not in attributes(tree, "os")
    assert [boot.get("dev") for boot in tree.iterfind("os/boot")] == ["hd"]
    assert tree.find("devices/disk[@device='cdrom']") is None


def test_uefi_is_left_to_the_host_and_without_secure_boot(spec: DomainSpec) -> None:
    tree = built(replace(spec, firmware="uefi"))
    assert attributes(tree, "os")["firmware"] == "efi"
    assert attributes(tree, "os/firmware/feature") == {"enabled": "no", "name": "secure-boot"}


def test_a_cd_is_a_read_only_drive_on_sata_that_nobody_relabels(spec: DomainSpec) -> None:
    tree = built(replace(spec, boot=("cdrom", "hd")), replace(PLACES, cdrom="/i/installer.iso"))
    drive = "devices/disk[@device='cdrom']"
    assert attributes(tree, f"{drive}/source") == {"file": "/i/installer.iso"}
    assert attributes(tree, f"{drive}/target") == {"dev": "sda", "bus": "sata"}
    assert attributes(tree, f"{drive}/source/seclabel") == {"model": "dac", "relabel": "no"}
    assert tree.find(f"{drive}/readonly") is not None
    assert [boot.get("dev") for boot in tree.iterfind("os/boot")] == ["cdrom", "hd"]
