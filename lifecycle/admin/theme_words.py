"""Words of the admin's theme, which brings no French: named here so that they are in our catalogue."""

from typing import Final

from django.utils.translation import gettext_noop

WORDS: Final = (
    gettext_noop("All applications"),
    gettext_noop("Apply Filters"),
    gettext_noop("Clear all filters"),
    gettext_noop("Clear selection"),
    gettext_noop("Click here to select the objects across all pages"),
    gettext_noop("Expand row"),
    gettext_noop("Filters"),
    gettext_noop("Hide counts"),
    gettext_noop("Loading more results..."),
    gettext_noop("More actions"),
    gettext_noop("No recent searches"),
    gettext_noop("No results found"),
    gettext_noop("No results matching your query"),
    gettext_noop("Recent searches"),
    gettext_noop("Remove from sorting"),
    gettext_noop("Reset filters"),
    gettext_noop("Search apps and models..."),
    gettext_noop("Select all rows"),
    gettext_noop("Select record"),
    gettext_noop("Show counts"),
    gettext_noop("This page yielded into no results. Create a new item or reset your filters."),
    gettext_noop("Toggle sorting"),
    gettext_noop("Type to search"),
)
