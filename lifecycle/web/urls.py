"""The portal's addresses."""

from django.urls import path, register_converter

from lifecycle.web.views import (
    account,
    charts,
    consoles,
    invitations,
    members,
    operations,
    operators,
    projects,
    snapshot,
    vm_actions,
    vm_create,
    vm_list,
    vm_page,
)

register_converter(vm_actions.ActionConverter, "vm_action")
register_converter(consoles.KindConverter, "console_kind")
register_converter(vm_actions.ConfirmedActionConverter, "confirmed_action")

app_name = "web"

_project = "projects/<slug:slug>"
_vm = f"{_project}/vms/<slug:name>"

urlpatterns = [
    path("", projects.home, name="home"),
    path("projects/", projects.index, name="projects"),
    path("projects/new/", projects.new, name="project-new"),
    path(f"{_project}/vms/", vm_list.index, name="vms"),
    path(f"{_project}/vms/new/", vm_create.new, name="vm-new"),
    path(f"{_vm}/", vm_page.show, name="vm"),
    path(f"{_vm}/fragment/", vm_page.fragment, name="vm-fragment"),
    path(f"{_vm}/charts/", charts.vm, name="vm-charts"),
    path(f"{_vm}/console/", consoles.serial, name="vm-console"),
    path(f"{_vm}/console/output.txt", consoles.output, name="vm-console-output"),
    path(f"{_vm}/console/sessions/", consoles.sessions, name="console-sessions"),
    path(f"{_vm}/console/sessions/<int:session_id>/cut/", consoles.cut, name="console-cut"),
    path(f"{_vm}/console/<console_kind:kind>/ticket/", consoles.ticket, name="console-ticket"),
    path(f"{_vm}/screen/", consoles.screen, name="vm-screen"),
    path(f"{_vm}/protection/", vm_actions.protect, name="vm-protection"),
    path(f"{_vm}/confirm/<confirmed_action:action>/", vm_actions.confirm, name="vm-confirm"),
    path(f"{_vm}/<vm_action:action>/", vm_actions.act, name="vm-act"),
    path(f"{_project}/operations/", operations.index, name="operations"),
    path(f"{_project}/operations/<uuid:operation_id>/", operations.show, name="operation"),
    path(f"{_project}/charts/", charts.project, name="charts"),
    path(f"{_project}/members/", members.index, name="members"),
    path(f"{_project}/members/invite/", members.invite, name="invite"),
    path(f"{_project}/members/<int:member_id>/role/", members.set_role, name="member-role"),
    path(f"{_project}/members/<int:member_id>/confirm/", members.confirm_removal, name="member-confirm"),
    path(f"{_project}/members/<int:member_id>/remove/", members.remove, name="member-remove"),
    path(f"{_project}/members/invitations/<int:invitation_id>/revoke/", members.revoke, name="invitation-revoke"),
    path(f"{_project}/snapshot.json", snapshot.snapshot, name="snapshot"),
    path("invitations/<str:token>/", invitations.show, name="invitation"),
    path("account/preferences/", account.preferences, name="preferences"),
    path("account/language/", account.language, name="language"),
    path("account/theme/", account.theme, name="theme"),
    path("operators/", operators.index, name="operators"),
    path("operators/hosts/<slug:name>/charts/", charts.host, name="host-charts"),
]
