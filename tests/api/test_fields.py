"""`fields`: what of an answer is left out, and which selections are refused, as Google refuses them."""

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.api import answers, methods, registry
from lifecycle.api.fields import apply, parse
from lifecycle.models import VM, User
from tests import factories
from tests.api import discovery
from tests.api.conftest import INSTANCES, Program, Programs

VM_PATH = f"{INSTANCES}/web-1"
methods.load()


def test_what_may_be_named_is_what_google_describes() -> None:
    """The product keeps the names alone of what its tests have in full."""
    described = [discovery.method(method.id).get("response") for method in registry.METHODS.values()]
    wanted = discovery.answer_fields(sorted({answer["$ref"] for answer in described if answer}))
    if os.environ.get("VMPORTAL_UPDATE_BASELINES"):
        lines = [f"{json.dumps(name)}: {json.dumps(fields, sort_keys=True)}" for name, fields in wanted.items()]
        answers.FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    assert json.loads(answers.FILE.read_text()) == wanted


@pytest.mark.parametrize("method", list(registry.METHODS.values()), ids=lambda method: method.id)
def test_each_answer_is_called_as_google_calls_it(method: registry.Method) -> None:
    described = discovery.method(method.id).get("response", {"$ref": "Nothing"})
    assert method.answer.__name__ == described["$ref"]


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        ("items/name,nextPageToken", {"items": [{"name": "web-1"}]}),
        (
            "items(name,status),kind",
            {"kind": "compute#instanceList", "items": [{"name": "web-1", "status": "RUNNING"}]},
        ),
        ("items/name,items/status", {"items": [{"name": "web-1", "status": "RUNNING"}]}),
        (" items ( name , status ) ", {"items": [{"name": "web-1", "status": "RUNNING"}]}),
        ("items/disks(index,boot)", {"items": [{"disks": [{"index": 0, "boot": True}]}]}),
        ("items/disks/boot", {"items": [{"disks": [{"boot": True}]}]}),
        ("items/scheduling/automaticRestart", {"items": [{"scheduling": {"automaticRestart": True}}]}),
        ("items/labels/env", {"items": [{"labels": {"env": "prod"}}]}),
        ("items(labels/*)", {"items": [{"labels": {"env": "prod", "team": "web"}}]}),
        ("items/description,kind", {"items": [{}], "kind": "compute#instanceList"}),  # Google's, never filled in here
        ("warning", {}),
    ],
)
def test_a_selection_keeps_what_it_names(mask: str, found: dict[str, Any], api: Program, vm: VM) -> None:
    VM.objects.update(labels={"env": "prod", "team": "web"})
    answer = api("GET", INSTANCES, fields=mask)
    assert (api.status, answer) == (200, found)


@pytest.mark.parametrize("mask", ["*", "items,kind,id,selfLink", "items(name),items,*", "items/*,kind,id,selfLink", ""])
def test_a_selection_of_everything_keeps_everything(mask: str, api: Program, vm: VM) -> None:
    assert api("GET", INSTANCES, fields=mask) == api("GET", INSTANCES)


@pytest.mark.parametrize(
    ("path", "mask", "named"),
    [
        (INSTANCES, "colour", "colour"),
        (INSTANCES, "items/name,colour", "colour"),
        (INSTANCES, "items(name,colour)", "items/colour"),
        (INSTANCES, "items/disks/colour", "items/disks/colour"),
        (INSTANCES, "items/name/first", "items/name/first"),
        (INSTANCES, "items/labels/env/first", "items/labels/env/first"),
        ("/zones", "items/*/colour", "items/*/colour"),
        (INSTANCES, "nextPageToken/*", "nextPageToken/*"),
        (INSTANCES, "name", "name"),
        (VM_PATH, "items/name", "items"),
        (VM_PATH, "Name", "Name"),
        ("/aggregated/instances", "items/*/disks/name", "items/*/disks"),
        ("/zones/zone-a/operations", "items/error/colour", "items/error/colour"),
        ("/global/images", "items(name,machineType)", "items/machineType"),
    ],
)
def test_a_field_that_is_not_there_is_refused_by_its_name(
    path: str, mask: str, named: str, api: Program, vm: VM
) -> None:
    error = api("GET", path, fields=mask)["error"]
    assert (api.status, error["message"]) == (400, f"Invalid field selection {named}")
    item = error["errors"][0]
    assert (item["reason"], item["location"], item["locationType"]) == ("invalidParameter", "fields", "parameter")


@pytest.mark.parametrize(
    "mask", ["items(", "items(name", "items)", "items()", ",", "items//name", "/items", "a b?", "("]
)
def test_what_is_no_selection_is_refused(mask: str, api: Program, vm: VM) -> None:
    error = api("GET", INSTANCES, fields=mask)["error"]
    assert (api.status, error["errors"][0]["reason"]) == (400, "invalidParameter")


def test_an_aggregated_list_is_selected_by_scope_or_by_any(api: Program, vm: VM) -> None:
    factories.make_zone("zone-b")
    answer = api("GET", "/aggregated/instances", fields="items/*/instances(name),nextPageToken")
    assert answer == {"items": {"zones/zone-a": {"instances": [{"name": "web-1"}]}, "zones/zone-b": {}}}
    whole = api("GET", "/aggregated/instances", fields="items/*/warning/code")
    assert whole == {"items": {"zones/zone-a": {}, "zones/zone-b": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}}


def test_nothing_is_done_when_the_selection_is_wrong(api: Program, vm: VM) -> None:
    api("POST", f"{VM_PATH}/stop", fields="colour")
    assert api.status == 400
    assert VM.objects.get().state == "RUNNING"
    assert set(api("POST", f"{VM_PATH}/stop", fields="name,error/errors/code,warnings/*")) == {"name"}


def test_a_wrong_selection_tells_a_stranger_no_more_than_a_right_one(program: Programs, vm: VM, stranger: User) -> None:
    asking = program(stranger, of=stranger.memberships.get().project)
    asking.project = "lab"
    asking("GET", VM_PATH, fields="name")
    assert asking.status == 404
    nobody = program(None)
    nobody("GET", VM_PATH, fields="colour")
    assert nobody.status == 401


KNOWN = json.loads(answers.FILE.read_text())


@given(st.sampled_from(sorted(KNOWN)), st.data())
def test_every_path_into_an_answer_is_a_selection_and_beyond_it_there_is_none(shape: str, data: st.DataObject) -> None:
    """Down from any answer by the names that it has; a further word, which no field has, is refused."""
    shapes = [shape]
    words: list[str] = []
    while shapes and len(words) < 6:
        known = KNOWN.get(shapes[0], {})
        if not known:
            break
        words.append(data.draw(st.sampled_from(sorted(known))))
        shapes = answers.below(shapes, words[-1])
    if words:
        assert parse("/".join(words), shape)
        with pytest.raises(Exception, match="Invalid field selection"):
            parse("/".join([*words[:-1], "noSuchField"]), shape)


KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(KEYS, inner) | st.lists(st.dictionaries(KEYS, inner), max_size=2)
).filter(lambda value: isinstance(value, dict))
MASKS: st.SearchStrategy[Any] = st.recursive(
    st.just({}), lambda inner: st.dictionaries(KEYS | st.just("*"), inner, min_size=1)
)


@given(VALUES, MASKS)
def test_what_is_selected_is_a_part_and_selecting_again_changes_nothing(value: Any, mask: Any) -> None:
    once = apply(mask, value)
    assert apply(mask, once) == once
    assert set(once) <= set(value)
