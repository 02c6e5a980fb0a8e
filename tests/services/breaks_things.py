"""How the constraints of images, keys, consoles and usage are broken."""

from django.utils import timezone

from lifecycle.models import VM, ConsoleSession, Project, SSHKey, Webhook, WebhookDelivery
from lifecycle.models.usage import HostUsage, VMUsage
from tests import factories
from tests.services.breaks import breaks

HOUR = 3600  # seconds


@breaks("one_public_image_per_name")
def _(_project: Project, _vm: VM) -> None:
    for _time in range(2):
        factories.make_image("same")


@breaks("one_image_per_project_and_name")
def _(project: Project, _vm: VM) -> None:
    for _time in range(2):
        factories.make_image("same", project=project)


@breaks("an_ssh_key_is_a_persons_or_a_projects")
def _(_project: Project, _vm: VM) -> None:
    SSHKey.objects.create(name="nobody's", key="ssh-ed25519 AAAA", fingerprint="SHA256:x")


@breaks("one_ssh_key_a_person")
def _(_project: Project, vm: VM) -> None:
    for _time in range(2):
        SSHKey.objects.create(user=vm.created_by, name="laptop", key="ssh-ed25519 AAAA", fingerprint="SHA256:x")


@breaks("one_ssh_key_a_project")
def _(project: Project, _vm: VM) -> None:
    for _time in range(2):
        SSHKey.objects.create(project=project, name="deploy", key="ssh-ed25519 AAAA", fingerprint="SHA256:x")


@breaks("a_closed_console_says_why")
def _(project: Project, vm: VM) -> None:
    ConsoleSession.objects.create(vm=vm, project=project, kind="serial", closed_at=timezone.now())


@breaks("one_usage_row_per_vm_and_span")
def _(_project: Project, vm: VM) -> None:
    for _time in range(2):
        VMUsage.objects.create(vm=vm, length=HOUR, begin=0, packed=b"")


@breaks("vm_usage_has_a_known_length")
def _(_project: Project, vm: VM) -> None:
    VMUsage.objects.create(vm=vm, length=60, begin=0, packed=b"")


@breaks("one_usage_row_per_project_host_and_span")
def _(project: Project, _vm: VM) -> None:
    host = factories.make_host("used")
    for _time in range(2):
        HostUsage.objects.create(host=host, project=project, length=HOUR, begin=0, packed=b"")


@breaks("one_usage_row_per_host_and_span")
def _(_project: Project, _vm: VM) -> None:
    host = factories.make_host("used")
    for _time in range(2):
        HostUsage.objects.create(host=host, length=HOUR, begin=0, packed=b"")


@breaks("host_usage_has_a_known_length")
def _(_project: Project, _vm: VM) -> None:
    HostUsage.objects.create(host=factories.make_host("used"), length=60, begin=0, packed=b"")


@breaks("a_message_is_on_its_way_once")
def _(project: Project, _vm: VM) -> None:
    hook = Webhook.objects.create(project=project, url="https://example.org/", salt="x")
    first = WebhookDelivery.objects.create(webhook=hook, kind="webhook.test", body={})
    WebhookDelivery.objects.create(webhook=hook, kind="webhook.test", body={}, message=first.message)


@breaks("a_message_arrived_or_was_given_up")
def _(project: Project, _vm: VM) -> None:
    hook = Webhook.objects.create(project=project, url="https://example.org/", salt="x")
    now = timezone.now()
    WebhookDelivery.objects.create(webhook=hook, kind="webhook.test", body={}, sent_at=now, given_up_at=now)
