"""Networks and addresses: given by the product, to look at."""

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from lifecycle.admin.base import ReadOnlyAdmin, link
from lifecycle.models import Address, Network


@admin.register(Network)
class NetworkAdmin(ReadOnlyAdmin):
    """One a project."""

    list_display = ["name", "project", "cidr", "bridge", "in_use"]
    search_fields = ["name", "cidr", "bridge", "project__slug"]
    list_select_related = ["project"]
    ordering = ["project__slug"]
    fields = ["name", "project", "cidr", "bridge", "in_use"]
    readonly_fields = ["in_use"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Network]:
        """With the number of addresses in use."""
        used = Count("addresses", filter=Q(addresses__vm__isnull=False))
        found: QuerySet[Network] = super().get_queryset(request).annotate(used=used)
        return found

    @display(description=_("addresses in use"), ordering="used")
    def in_use(self, network: Network) -> int:
        """How many VMs have an address of it."""
        return network.used  # type: ignore[attr-defined,no-any-return]


@admin.register(Address)
class AddressAdmin(ReadOnlyAdmin):
    """Addresses that are or were given."""

    list_display = ["ip", "network", "vm_link", "released_at"]
    list_filter = [("network", AutocompleteSelectFilter)]
    search_fields = ["ip", "vm__name", "network__project__slug"]
    list_select_related = ["network", "vm"]
    ordering = ["network", "ip"]
    fields = ["ip", "network", "vm_link", "released_at"]
    readonly_fields = ["vm_link"]

    @display(description=_("VM"), ordering="vm__name")
    def vm_link(self, address: Address) -> SafeString | str:
        """The VM that has it."""
        return link(address.vm)
