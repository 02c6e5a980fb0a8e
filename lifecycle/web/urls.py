"""The portal's addresses."""

from django.urls import URLPattern, path, register_converter

from lifecycle.web.views import (
    account,
    audit,
    billing,
    budgets,
    charts,
    consoles,
    images,
    invitations,
    keys,
    members,
    metrics,
    notifications,
    operations,
    operators,
    payments,
    projects,
    saved_views,
    search,
    snapshot,
    timeline,
    tokens,
    vm_actions,
    vm_bulk,
    vm_create,
    vm_edit,
    vm_list,
    vm_page,
    webhooks,
)

register_converter(vm_actions.ActionConverter, "vm_action")
register_converter(consoles.KindConverter, "console_kind")
register_converter(billing.DocumentConverter, "document")
register_converter(vm_actions.ConfirmedActionConverter, "confirmed_action")

app_name = "web"

_project = "projects/<slug:slug>"
_vm = f"{_project}/vms/<slug:name>"
_webhook = f"{_project}/webhooks/<int:webhook_id>"


def _images(base: str, prefix: str) -> list[URLPattern]:
    """Images of a project, or of everybody."""
    one, coming = f"{base}/<int:image_id>", f"{base}/imports/<uuid:import_id>"
    return [
        path(f"{base}/", images.index, name=f"{prefix}images"),
        path(f"{base}/new/", images.new, name=f"{prefix}image-new"),
        path(f"{coming}/", images.show, name=f"{prefix}image-import"),
        path(f"{coming}/piece/", images.piece, name=f"{prefix}image-piece"),
        path(f"{coming}/cancel/", images.cancel, name=f"{prefix}image-cancel"),
        path(f"{one}/deprecate/", images.deprecate, name=f"{prefix}image-deprecate"),
        path(f"{one}/confirm/", images.confirm_delete, name=f"{prefix}image-confirm"),
        path(f"{one}/delete/", images.delete, name=f"{prefix}image-delete"),
    ]


urlpatterns = [
    path("", projects.home, name="home"),
    path("search/", search.search, name="search"),
    path("projects/", projects.index, name="projects"),
    path("projects/new/", projects.new, name="project-new"),
    path(f"{_project}/vms/", vm_list.index, name="vms"),
    path(f"{_project}/vms/new/", vm_create.new, name="vm-new"),
    path(f"{_project}/vms/bulk/", vm_bulk.act, name="vm-bulk"),
    path(f"{_project}/views/", saved_views.save, name="view-save"),
    path(f"{_project}/views/<int:view_id>/remove/", saved_views.remove, name="view-remove"),
    path(f"{_project}/audit/", audit.index, name="audit"),
    path(f"{_vm}/", vm_page.show, name="vm"),
    path(f"{_vm}/fragment/", vm_page.fragment, name="vm-fragment"),
    path(f"{_vm}/charts/", charts.vm, name="vm-charts"),
    path(f"{_vm}/edit/", vm_edit.edit, name="vm-edit"),
    path(f"{_vm}/timeline/", timeline.index, name="vm-timeline"),
    path(f"{_vm}/post-mortem/", timeline.post_mortem, name="vm-post-mortem"),
    path(f"{_vm}/console/", consoles.serial, name="vm-console"),
    path(f"{_vm}/console/output.txt", consoles.output, name="vm-console-output"),
    path(f"{_vm}/console/sessions/", consoles.sessions, name="console-sessions"),
    path(f"{_vm}/console/sessions/<int:session_id>/cut/", consoles.cut, name="console-cut"),
    path(f"{_vm}/console/<console_kind:kind>/ticket/", consoles.ticket, name="console-ticket"),
    path(f"{_vm}/screen/", consoles.screen, name="vm-screen"),
    path(f"{_vm}/keys/", keys.choose, name="vm-keys"),
    path(f"{_vm}/cdrom/", vm_actions.set_cdrom, name="vm-cdrom"),
    path(f"{_vm}/protection/", vm_actions.protect, name="vm-protection"),
    path(f"{_vm}/confirm/<confirmed_action:action>/", vm_actions.confirm, name="vm-confirm"),
    path(f"{_vm}/<vm_action:action>/", vm_actions.act, name="vm-act"),
    path(f"{_project}/operations/", operations.index, name="operations"),
    path(f"{_project}/operations/<uuid:operation_id>/", operations.show, name="operation"),
    path(f"{_project}/charts/", charts.project, name="charts"),
    path(f"{_project}/operations/<uuid:operation_id>/cancel/", operations.cancel, name="operation-cancel"),
    path(f"{_project}/members/", members.index, name="members"),
    path(f"{_project}/members/invite/", members.invite, name="invite"),
    path(f"{_project}/members/<int:member_id>/role/", members.set_role, name="member-role"),
    path(f"{_project}/members/<int:member_id>/confirm/", members.confirm_removal, name="member-confirm"),
    path(f"{_project}/members/<int:member_id>/remove/", members.remove, name="member-remove"),
    path(f"{_project}/members/invitations/<int:invitation_id>/revoke/", members.revoke, name="invitation-revoke"),
    path(f"{_project}/keys/", keys.of_project, name="project-keys"),
    path(f"{_project}/keys/<int:key_id>/remove/", keys.remove_of_project, name="project-key-remove"),
    path(f"{_project}/webhooks/", webhooks.index, name="webhooks"),
    path(f"{_webhook}/", webhooks.show, name="webhook"),
    path(f"{_webhook}/switch/", webhooks.switch, name="webhook-switch"),
    path(f"{_webhook}/test/", webhooks.test, name="webhook-test"),
    path(f"{_webhook}/remove/", webhooks.remove, name="webhook-remove"),
    path(f"{_webhook}/messages/<int:delivery_id>/again/", webhooks.again, name="webhook-again"),
    *_images(f"{_project}/images", ""),
    *_images("images", "public-"),
    path(f"{_project}/snapshot.json", snapshot.snapshot, name="snapshot"),
    path(f"{_project}/billing/", billing.overview, name="billing"),
    path(f"{_project}/billing/account/", billing.change_account, name="billing-account"),
    path(f"{_project}/billing/promotion/", billing.redeem, name="billing-promotion"),
    path(f"{_project}/billing/preview/", billing.preview, name="billing-preview"),
    path(f"{_project}/billing/invoices/", billing.invoices, name="invoices"),
    path(f"{_project}/billing/invoices/<int:number>/", billing.invoice, name="invoice"),
    path(f"{_project}/billing/budgets/", budgets.index, name="budgets"),
    path(f"{_project}/billing/budgets/new/", budgets.new, name="budget-new"),
    path(f"{_project}/billing/budgets/<int:budget_id>/", budgets.edit, name="budget"),
    path(f"{_project}/billing/budgets/<int:budget_id>/remove/", budgets.remove, name="budget-remove"),
    path("billing/stripe/", payments.hook, name="stripe-hook"),
    path(f"{_project}/billing/invoices/<int:number>/pay/", payments.pay, name="invoice-pay"),
    path(f"{_project}/billing/invoices/<int:number>/lines/<int:position>/", billing.line, name="invoice-line"),
    path(f"{_project}/billing/invoices/<int:number>/<document:ending>/", billing.download, name="invoice-download"),
    path(f"{_vm}/costs/", billing.vm, name="vm-costs"),
    path("invitations/<str:token>/", invitations.show, name="invitation"),
    path("account/preferences/", account.preferences, name="preferences"),
    path("account/notifications/", notifications.choices, name="notification-choices"),
    path("notifications/", notifications.index, name="notifications"),
    path("notifications/read/", notifications.read_all, name="notifications-read"),
    path("notifications/<int:notification_id>/open/", notifications.open_one, name="notification-open"),
    path("account/keys/", keys.mine, name="keys"),
    path("account/keys/<int:key_id>/remove/", keys.remove_mine, name="key-remove"),
    path("account/tokens/", tokens.index, name="tokens"),
    path("account/tokens/<int:token_id>/revoke/", tokens.revoke, name="token-revoke"),
    path("account/language/", account.language, name="language"),
    path("account/theme/", account.theme, name="theme"),
    path("metrics", metrics.metrics, name="metrics"),
    path("operators/", operators.index, name="operators"),
    path("operators/hosts/<slug:name>/charts/", charts.host, name="host-charts"),
]
