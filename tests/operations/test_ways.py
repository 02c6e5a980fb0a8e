"""Every operation from its beginning to its end, on a host without faults."""

import pytest

from lifecycle.domain.transitions import Action
from lifecycle.operations import registry
from tests.operations.scene import ENDS_IN, Scene

pytestmark = [pytest.mark.bothdb, pytest.mark.libvirt, pytest.mark.django_db]

each_action = pytest.mark.parametrize("action", [Action(name) for name in registry.DEFINITIONS])


@each_action
def test_an_operation_leads_where_the_specification_says(scene: Scene, action: Action) -> None:
    operation = scene.finish(scene.begin(action))
    assert operation.error is None
    scene.assert_at_rest(ENDS_IN[action])
