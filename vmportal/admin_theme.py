"""What the admin's theme is told: names, colours' file, and the way through the pages."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _


def _stylesheet(request: HttpRequest) -> str:
    return static("operators/admin.css")


def _icon(request: HttpRequest) -> str:
    return static("img/favicon.svg")


def _entry(title: Any, icon: str, model: str) -> dict[str, Any]:
    """A line of the side bar, for who may view the model (`app.name`)."""
    app, name = model.split(".")
    permission = f"{app}.view_{name}"

    def allowed(request: HttpRequest) -> bool:
        return request.user.has_perm(permission)

    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": allowed,
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "vmportal",
    "SITE_HEADER": "vmportal",
    "SITE_SUBHEADER": _("Operators"),
    "SITE_URL": "/",
    "SITE_SYMBOL": "dns",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": True,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": None,
    "STYLES": [_stylesheet],
    "COMMAND": {"search_models": ["lifecycle.VM", "lifecycle.Project", "lifecycle.Host", "lifecycle.User"]},
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "navigation": [
            {
                "items": [
                    {"title": _("Overview"), "icon": "speed", "link": reverse_lazy("admin:index")},
                    {"title": _("Portal"), "icon": "home", "link": reverse_lazy("web:projects")},
                ],
            },
            {
                "title": _("Machines"),
                "separator": True,
                "items": [
                    _entry(_("VMs"), "deployed_code", "lifecycle.vm"),
                    _entry(_("Operations"), "pending_actions", "lifecycle.operation"),
                    _entry(_("Transitions"), "history", "lifecycle.transition"),
                    _entry(_("Metering"), "timer", "lifecycle.meteringinterval"),
                    _entry(_("Metering of images"), "album", "lifecycle.imageinterval"),
                    _entry(_("Consoles"), "terminal", "lifecycle.consolesession"),
                    _entry(_("Schedules"), "calendar_clock", "lifecycle.schedule"),
                    _entry(_("Idle VMs"), "bedtime", "lifecycle.idlehint"),
                ],
            },
            {
                "title": _("Care"),
                "separator": True,
                "items": [
                    _entry(_("Alerts"), "notifications", "lifecycle.alert"),
                    _entry(_("Repairs"), "build", "lifecycle.repair"),
                    _entry(_("Findings"), "rule", "lifecycle.finding"),
                    _entry(_("Cleanups"), "mop", "lifecycle.cleanup"),
                    _entry(_("Announced maintenance"), "event", "lifecycle.maintenance"),
                    _entry(_("Audit log"), "policy", "lifecycle.auditentry"),
                ],
            },
            {
                "title": _("Money"),
                "separator": True,
                "items": [
                    _entry(_("Revenue"), "bar_chart", "lifecycle.revenueday"),
                    _entry(_("Invoices"), "receipt_long", "lifecycle.invoice"),
                    _entry(_("Payments"), "payments", "lifecycle.payment"),
                    _entry(_("Credits"), "redeem", "lifecycle.credit"),
                    _entry(_("Budgets"), "savings", "lifecycle.budget"),
                    _entry(_("Price lists"), "sell", "lifecycle.pricelist"),
                    _entry(_("Billing accounts"), "account_balance", "lifecycle.billingaccount"),
                    _entry(_("Committed use"), "handshake", "lifecycle.committeduse"),
                    _entry(_("Promotion codes"), "confirmation_number", "lifecycle.promotioncode"),
                    _entry(_("Tax rates"), "percent", "lifecycle.taxrate"),
                    _entry(_("Seller"), "storefront", "lifecycle.seller"),
                ],
            },
            {
                "title": _("Fleet"),
                "separator": True,
                "items": [
                    _entry(_("Hosts"), "dns", "lifecycle.host"),
                    _entry(_("Zones"), "location_on", "lifecycle.zone"),
                    _entry(_("Images"), "album", "lifecycle.image"),
                    _entry(_("Changes of images"), "history", "lifecycle.imagechange"),
                    _entry(_("Imports"), "download", "lifecycle.imageimport"),
                    _entry(_("Machine types"), "memory", "lifecycle.machinetype"),
                    _entry(_("Networks"), "lan", "lifecycle.network"),
                    _entry(_("Addresses"), "tag", "lifecycle.address"),
                ],
            },
            {
                "title": _("People"),
                "separator": True,
                "items": [
                    _entry(_("Projects"), "folder", "lifecycle.project"),
                    _entry(_("Quotas"), "data_usage", "lifecycle.quota"),
                    _entry(_("Invitations"), "mail", "lifecycle.invitation"),
                    _entry(_("Webhooks"), "webhook", "lifecycle.webhook"),
                    _entry(_("Users"), "person", "lifecycle.user"),
                    _entry(_("SSH keys"), "key", "lifecycle.sshkey"),
                    _entry(_("Access tokens"), "vpn_key", "lifecycle.apitoken"),
                    _entry(_("Notifications"), "mark_email_read", "lifecycle.notification"),
                    _entry(_("Saved views"), "bookmark", "lifecycle.savedview"),
                    _entry(_("Groups"), "group", "auth.group"),
                ],
            },
            {
                "title": _("Timers"),
                "separator": True,
                "items": [_entry(_("Periodic tasks"), "schedule", "django_celery_beat.periodictask")],
            },
        ],
    },
}
