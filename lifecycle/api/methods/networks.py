"""compute.networks, subnetworks and firewalls: what each project has from the beginning, to look at."""

from typing import Any

from lifecycle.api import finders, schemas
from lifecycle.api.call import Call
from lifecycle.api.links import NETWORK, region_of
from lifecycle.api.listing import aggregated_answer, list_answer, page_of_items
from lifecycle.api.registry import LIST_PARAMETERS, method
from lifecycle.api.resources.catalog import firewalls_of, network_of, subnetwork_of
from lifecycle.api.schemas import Firewall, Network, Subnetwork
from lifecycle.models import Network as Row
from lifecycle.models import Zone

_NETWORKS = "projects/{project}/global/networks"
_SUBNETWORKS = "projects/{project}/regions/{region}/subnetworks"
_FIREWALLS = "projects/{project}/global/firewalls"


@method("networks.get", "GET", _NETWORKS + "/{network}", Network)
def get_network(call: Call) -> Network:
    """The project's network, `default`."""
    row = _network(call)
    if call.path["network"] not in {NETWORK, str(row.pk)}:
        raise call.missing()
    return network_of(row, _regions(), call.links)


@method("networks.list", "GET", _NETWORKS, schemas.list_of(Network), query=LIST_PARAMETERS)
def list_networks(call: Call) -> dict[str, Any]:
    """The project's networks: there is one."""
    items, token = page_of_items(call, [network_of(_network(call), _regions(), call.links)])
    return list_answer(call, "network", items, token)


@method("subnetworks.get", "GET", _SUBNETWORKS + "/{subnetwork}", Subnetwork)
def get_subnetwork(call: Call) -> Subnetwork:
    """The network's range in a region."""
    finders.zones_of_region(call)
    row = _network(call)
    if call.path["subnetwork"] not in {NETWORK, str(row.pk)}:
        raise call.missing()
    return subnetwork_of(row, call.path["region"], call.links)


@method("subnetworks.list", "GET", _SUBNETWORKS, schemas.list_of(Subnetwork), query=LIST_PARAMETERS)
def list_subnetworks(call: Call) -> dict[str, Any]:
    """The subnetworks of a region: there is one."""
    finders.zones_of_region(call)
    items, token = page_of_items(call, [subnetwork_of(_network(call), call.path["region"], call.links)])
    return list_answer(call, "subnetwork", items, token)


@method(
    "subnetworks.aggregatedList",
    "GET",
    "projects/{project}/aggregated/subnetworks",
    schemas.aggregated_list_of(Subnetwork, "subnetworks"),
    query=(*LIST_PARAMETERS, "includeAllScopes"),
)
def aggregated_subnetworks(call: Call) -> dict[str, Any]:
    """The subnetworks of all regions."""
    row, token, scopes = _network(call), "", {}
    for region in _regions():
        scopes[f"regions/{region}"], token = page_of_items(call, [subnetwork_of(row, region, call.links)])
    return aggregated_answer(call, "subnetwork", scopes, token, "subnetworks")


@method("firewalls.get", "GET", _FIREWALLS + "/{firewall}", Firewall)
def get_firewall(call: Call) -> Firewall:
    """One rule."""
    for found in firewalls_of(_network(call), call.links):
        if call.path["firewall"] in {found["name"], found["id"]}:
            return found
    raise call.missing()


@method("firewalls.list", "GET", _FIREWALLS, schemas.list_of(Firewall), query=LIST_PARAMETERS)
def list_firewalls(call: Call) -> dict[str, Any]:
    """The rules that every VM's packet filter stands for."""
    items, token = page_of_items(call, firewalls_of(_network(call), call.links))
    return list_answer(call, "firewall", items, token)


def _network(call: Call) -> Row:
    found = Row.objects.filter(project=call.project).first()
    if found is None:
        raise call.missing()
    return found


def _regions() -> list[str]:
    return sorted({region_of(name) for name in Zone.objects.values_list("name", flat=True)})
