"""`python -m tests.e2e.furnish`: rows for a portal that is to be looked at, in the database of the environment.

People, projects, VMs in each of the eight states, long names, failures, repairs, findings, alerts, notifications:
every part of every page has something to show. No guest runs; the story tests have those.
"""

import math
import os
import random
import time
from datetime import time as clock
from datetime import timedelta
from decimal import Decimal

import django
import time_machine

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vmportal.settings")
django.setup()

from django.utils import timezone  # noqa: E402  # after the set-up

from lifecycle.domain.access import Role  # noqa: E402
from lifecycle.domain.states import State  # noqa: E402
from lifecycle.domain.transitions import Action, Asker  # noqa: E402
from lifecycle.domain.usage import FIVE_MINUTES, STEP, Summary, Values, begin_of  # noqa: E402
from lifecycle.models import (  # noqa: E402
    VM,
    Alert,
    ConsoleSession,
    Finding,
    Host,
    IdleHint,
    Image,
    ImageImport,
    Notification,
    Operation,
    OperationStep,
    Project,
    Schedule,
    User,
    Zone,
)
from lifecycle.realtime import recent  # noqa: E402
from lifecycle.services import (  # noqa: E402
    audit,
    budgets,
    image_imports,
    keys,
    observations,
    operations,
    projects,
    saved_views,
    schedules,
    tokens,
    usage,
    vm_details,
    webhooks,
)
from lifecycle.services.transitions import move  # noqa: E402
from tests import factories  # noqa: E402
from tests.stack import PASSWORD  # noqa: E402

#: A name as long as names may be.
LONG = "a-virtual-machine-with-a-name-as-long-as-names-can-possibly-be1"
FLEET: dict[str, State] = {
    "web-1": State.RUNNING,
    "web-2": State.RUNNING,
    "db-primary": State.SUSPENDED,
    "build-agent": State.TERMINATED,
    "staging-1": State.STAGING,
    "new-1": State.PROVISIONING,
    "mail-1": State.STOPPING,
    "cache-1": State.SUSPENDING,
    "broken-1": State.REPAIRING,
    LONG: State.RUNNING,
}
SERIAL = """\
[    0.000000] Linux version 6.1.0 (debian-kernel@lists.debian.org)
[    0.412311] virtio_net virtio0 eth0: renamed from eth0
[    1.003912] EXT4-fs (vda1): mounted filesystem with ordered data mode
cloud-init: Cloud-init v. 22.4.2 finished. Datasource DataSourceNoCloud. Up 4.21 seconds
web-1 login:
"""


def main() -> None:
    """Everything, for `admin` (an operator) and `tess` (a tenant)."""
    admin = User.objects.get(username="admin")
    admin.set_password(PASSWORD)
    admin.must_change_password = False
    admin.email = "admin@example.org"
    admin.save(update_fields=["password", "must_change_password", "email"])
    tess = factories.make_user("tess", password=PASSWORD)
    project = Project.objects.get(slug="default")
    Project.objects.filter(pk=project.pk).update(title="Everything that the team runs")
    people(project, admin, tess)
    fleet(project, admin)
    used(project)
    catalogue(project, admin)
    secrets_of(project, admin)
    clockwork(admin)
    care(project)
    notices(admin)


def people(project: Project, admin: User, tess: User) -> None:
    """Members, an invitation, more projects."""
    factories.add_member(project, tess, Role.OPERATOR)
    factories.add_member(project, factories.make_user("a.rather-long.user-name@department"), Role.VIEWER)
    projects.invite(project, "somebody.new@example.org", "viewer", user=admin)
    for slug, title in (("shop", "The web shop"), ("research-and-development-of-new-things", "")):
        made = factories.make_project(slug, owner=admin)
        Project.objects.filter(pk=made.pk).update(title=title)
    factories.make_project("empty", owner=tess)


def fleet(project: Project, admin: User) -> None:
    """VMs in every state, with histories, labels and operations."""
    zone = Zone.objects.first() or factories.make_zone()
    host = Host.objects.first() or factories.make_host("host-1", zone=zone, last_seen_at=timezone.now())
    factories.make_host("host-2", zone=zone, health=Host.Health.DOWN, health_reason="It does not answer.")
    image = Image.objects.first() or factories.make_image("tiny")
    for name, state in FLEET.items():
        vm = factories.make_vm(project, name, state, host=host, image=image, created_by=admin)
        factories.give_history(vm, timezone.now() - timedelta(hours=30))
    web, suspended = VM.objects.get(name="web-1"), VM.objects.get(name="db-primary")
    vm_details.describe(web, {"env": "prod", "team": "front", "tier": "web"}, "The shop.\n\nAsk Ada.", user=admin)
    vm_details.set_labels(VM.objects.get(name=LONG), {"a-label-that-is-rather-long": "with-a-long-value"}, user=admin)
    VM.objects.filter(pk=suspended.pk).update(state_since=timezone.now() - timedelta(days=56))
    observations.append_serial(web.pk, SERIAL, read_from=0, read_to=len(SERIAL))
    worked(web, admin)
    saved_views.save(project, "Production", "label=env%3Dprod", user=admin)
    shop = Project.objects.get(slug="shop")
    factories.make_vm(shop, "shop-1", State.RUNNING, host=host, image=image)


def worked(web: VM, admin: User) -> None:
    """Operations that are over, that failed, and that are under way."""
    now = timezone.now()
    done = factories.make_operation(
        web, Action.CREATE, user=admin, steps=("reserve_capacity", "prepare_disk", "define_domain", "start_domain")
    )
    OperationStep.objects.filter(operation=done).update(status="done", started_at=now, ended_at=now)
    operations.close(done.pk)
    off = VM.objects.get(name="build-agent")
    failed = factories.make_operation(off, Action.START, user=admin, steps=("reserve_capacity",))
    OperationStep.objects.filter(operation=failed).update(status="failed", started_at=now, ended_at=now)
    error = {
        "code": "ZONE_RESOURCE_POOL_EXHAUSTED",
        "message": "No host in zone zone-a has room for this VM now.",
        "template": "No host in zone %(zone)s has room for this VM now.",
        "params": {"zone": "zone-a"},
        "reasons": {"host-1": "8 vCPUs wanted, 2 free"},
    }
    operations.close(failed.pk, error=error)
    running = factories.make_operation(
        VM.objects.get(name="staging-1"),
        Action.CREATE,
        user=admin,
        steps=("reserve_capacity", "prepare_disk"),
        progress=40,
    )
    Operation.objects.filter(pk=running.pk).update(status="RUNNING", lease_until=now + timedelta(days=1))


def used(project: Project) -> None:
    """An hour and more of what `web-1` and all VMs together used, with a gap; and an invoice's draft."""
    web, host = VM.objects.get(name="web-1"), Host.objects.get(name="host-1")
    seed = random.Random(1)  # a curve, the same every time
    for span in range(36):
        if span in (11, 12):
            continue
        begin = begin_of(time.time(), FIVE_MINUTES) - FIVE_MINUTES * (span + 1)
        part = (math.sin(span / 5) + 1.4) / 3 + seed.random() / 12
        mean = (part, 48 + 30 * part, 4e4 * part, 9e5 * part, 3e5 * part, 6e5 * part)
        usage.keep_vms(begin, {web.pk: around(mean)})
        usage.keep_host(host.pk, begin, {None: around(mean), project.pk: around(mean)})
    subjects = (recent.vm_subject(web.pk), recent.host_subject(host.pk), recent.part_subject(project.pk, host.pk))
    now = int(time.time()) // STEP * STEP
    for step in range(360):
        if 120 < step < 150:
            continue
        part = (math.sin(step / 40) + 1.4) / 3 + seed.random() / 9
        values = (part, 48 + 30 * part, 4e4 * part, 9e5 * part, 3e5 * part, 6e5 * part)
        recent.keep(now - STEP * step, dict.fromkeys(subjects, values))
    factories.make_draft_invoice(web, f"{timezone.now() - timedelta(days=40):%Y-%m}")


def around(mean: Values) -> Summary:
    """Thirty samples about a mean."""
    return Summary(tuple(v * 0.8 for v in mean), mean, tuple(v * 1.2 for v in mean), (30,) * len(mean))


def catalogue(project: Project, admin: User) -> None:
    """Images of the project and for everybody: one deprecated, imports on their way and failed."""
    factories.make_image("debian-12", family="debian", description="Debian 12 with cloud-init")
    with time_machine.travel(timezone.now() - timedelta(days=9)):  # it has cost something by now
        factories.make_image(
            "our-base", family="base", project=project, description="With our agents", size_bytes=12 * 2**30
        )
    factories.make_image("our-base-of-last-year", family="base", project=project, status=Image.Status.DEPRECATED)
    for name, problem in (("rescue-cd", ""), ("fedora-cloud", "The file has another checksum than the one given.")):
        request = image_imports.ImportRequest(
            name=name, url=f"https://images.example.org/releases/latest/{name}.qcow2", sha256="5e" * 32
        )
        row = image_imports.request_import(project, request, user=admin, file_max=2**40)
        if problem:
            error = {"code": "INVALID", "message": problem}
            ImageImport.objects.filter(pk=row.pk).update(status=ImageImport.Status.FAILED, error=error)
        else:
            status = ImageImport.Status.RUNNING
            ImageImport.objects.filter(pk=row.pk).update(status=status, done_bytes=31 * 10**7, total_bytes=7 * 10**8)


def secrets_of(project: Project, admin: User) -> None:
    """SSH keys, access tokens, a webhook, and a budget."""
    keys.add_user_key(admin, factories.make_public_key("admin@laptop"), "laptop")
    keys.add_project_key(project, factories.make_public_key("deploy@ci"), "deployment", user=admin)
    tokens.create(admin, "terraform", [project], may_write=True)
    hook = webhooks.create(project, "https://hooks.example.org/vmportal", ["repair.opened"], user=admin)[0]
    for problem in ("", "the receiver answered with status 500", "the receiver answered with status 410"):
        sent = webhooks.claim(webhooks.send_test(project, hook.pk, user=admin).pk)
        if sent and problem:
            webhooks.failed(sent, problem, int(problem[-3:]), for_good=problem.endswith("410"))
        elif sent:
            webhooks.delivered(sent, 200)
    budgets.save(project, budgets.Wish("The month", Decimal(50), suspend_at=120), user=admin)
    tokens.create(admin, "a dashboard that only looks", [project], may_write=False)


def clockwork(admin: User) -> None:
    """Schedules with what became of their times, a VM that looks idle, consoles that are and were open."""
    web, idle, now = VM.objects.get(name="web-1"), VM.objects.get(name="web-2"), timezone.now()
    schedules.keep_office_hours(web, user=admin)
    made = schedules.add(web, schedules.Wish("stop", clock(22, 30), (5, 6), "America/New_York"), user=admin)
    missed = now - timedelta(days=1)
    Schedule.objects.filter(pk=made.pk).update(next_at=missed)
    schedules.take(made.pk, missed, now)
    IdleHint.objects.create(vm=idle, since=now - timedelta(days=9), cpu_percent=0.4, network=120.0)
    for kind, ended in (("serial", {}), ("screen", {"closed_at": now, "ending": "vm_off"})):
        ConsoleSession.objects.create(vm=web, project=web.project, user=admin, kind=kind, address="192.0.2.17", **ended)


def care(project: Project) -> None:
    """What operators look after."""
    host = Host.objects.get(name="host-2")
    Alert.objects.create(
        key="host_down:2",
        kind="host_down",
        text="The host %(host)s does not answer.",
        params={"host": "host-2"},
        host=host,
        severity="critical",
    )
    Finding.objects.create(host=host, kind="unknown_volume", subject="left-over.qcow2", text="A volume that no VM has.")
    vm = VM.objects.get(name="web-2")
    move(vm.pk, Action.CRASH, State.RUNNING, State.REPAIRING, asked_by=Asker.OBSERVER, reason="Its QEMU process died.")
    audit.record("user.login", user=User.objects.get(username="admin"))


def notices(admin: User) -> None:
    """One that was read."""
    first = Notification.objects.filter(user=admin).first()
    if first:
        Notification.objects.filter(pk=first.pk).update(read_at=timezone.now())


if __name__ == "__main__":
    main()
