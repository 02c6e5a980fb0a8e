"""A database that was put back: what is given once is not given again, and nobody is signed in."""

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from lifecycle.domain.transitions import Action
from lifecycle.models import Address, Network, Project, User
from lifecycle.realtime import publish
from lifecycle.services import networks
from lifecycle.services.restored import ADDRESS_GAP, EVENT_GAP, PROJECT_GAP, settle
from tests import factories

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


def test_sessions_end(owner: User) -> None:
    client = Client()
    client.force_login(owner)
    assert settle().sessions == Session.objects.count() + 1 == 1


def test_numbers_of_events_go_on_beyond_those_that_browsers_know(project: Project) -> None:
    vm = factories.make_vm(project)
    publish.vm_changed(vm.pk)
    before = Project.objects.get(pk=project.pk).last_event_number
    settle()
    publish.vm_changed(vm.pk)
    assert Project.objects.get(pk=project.pk).last_event_number == before + EVENT_GAP + 1


def test_a_new_project_gets_neither_number_nor_range_of_one_that_was_lost(project: Project) -> None:
    """The host may still have the lost one's network, with guests in it."""
    networks.network_of(project)
    lost = factories.make_project("lost")
    number, cidr = lost.pk, networks.network_of(lost).cidr
    Network.objects.filter(project=lost).delete()
    lost.memberships.all().delete()
    Project.objects.filter(pk=number).delete()
    settle()
    new = factories.make_project("new")
    assert new.pk >= number + PROJECT_GAP
    assert networks.network_of(new).cidr != cidr


def test_a_new_vm_gets_no_address_of_one_that_was_lost(project: Project) -> None:
    known = factories.make_vm(project).address
    network = networks.network_of(project)
    since = [ip for ip, _n in zip(networks.never_used(network), range(ADDRESS_GAP), strict=False)]
    settle()
    new = factories.make_vm(project).address
    assert new.ip not in {*since, known.ip}
    assert Address.objects.filter(network=network, vm__isnull=True, released_at__lte=timezone.now()).count() == 256


def test_operations_that_were_under_way_are_told(project: Project) -> None:
    factories.make_operation(factories.make_vm(project), Action.STOP)
    assert settle().open_operations == 1
