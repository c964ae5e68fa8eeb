"""Create, read, update and delete of any resource type: what is the same for all, around each one's own functions.

A preview calls nothing on AWS: outputs that only AWS can tell are unknown in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import Resource
from localcloud.provider.diffing import all_tags
from localcloud.provider.errors import InitializationFailed, ProviderError, aws_error
from localcloud.provider.reading import inputs_from, state_from
from localcloud.provider.values import UNKNOWN, Values


def preview_create(cloud: Cloud, resource: Resource, inputs: Values) -> Values:
    state = {key: value for key, value in inputs.items() if not key.startswith("__")}
    state.update({key: UNKNOWN for key, declared in resource.inputs.items() if declared.computed and key not in state})
    state.update(dict.fromkeys(resource.outputs, UNKNOWN))
    return _with_provider_values(cloud, resource, inputs, state)


def preview_update(cloud: Cloud, resource: Resource, old: Values, inputs: Values) -> Values:
    kept = {
        key: value
        for key, value in old.items()
        if key in resource.outputs or (key in resource.inputs and resource.inputs[key].computed)
    }
    given = {key: value for key, value in inputs.items() if not key.startswith("__")}
    state = {**kept, **given, **{key: UNKNOWN for key in resource.volatile if key in kept}}
    return _with_provider_values(cloud, resource, inputs, state)


def _with_provider_values(cloud: Cloud, resource: Resource, inputs: Values, state: Values) -> Values:
    if "region" in resource.inputs:
        state["region"] = cloud.region
    if resource.tagged:
        state["tagsAll"] = all_tags(cloud.default_tags, inputs)
    return state


def create(cloud: Cloud, resource: Resource, inputs: Values) -> tuple[str, Values]:
    """(id, state). Raises ProviderError, or InitializationFailed where it exists but does not work."""
    with _explained("creating", resource, inputs):
        identifier = resource.create(cloud, inputs)
        return identifier, _state(cloud, resource, identifier, inputs)


def update(cloud: Cloud, resource: Resource, identifier: str, old: Values, inputs: Values) -> Values:
    """The new state. Raises like `create`."""
    with _explained("updating", resource, {**inputs, "id": identifier}):
        resource.update(cloud, identifier, old, inputs)
        return _state(cloud, resource, identifier, inputs)


def recorded_state(cloud: Cloud, resource: Resource, identifier: str, inputs: Values) -> Values:
    """What to record of a resource that exists but does not work."""
    with _explained("reading", resource, {"id": identifier}):
        return _state(cloud, resource, identifier, inputs)


def read(
    cloud: Cloud, resource: Resource, identifier: str, old: Values, old_inputs: Values
) -> tuple[str, Values, Values] | None:
    """(id, inputs, state), or None when it is gone; `old` and `old_inputs` are empty on import."""
    with _explained("reading", resource, {"id": identifier}):
        live = resource.read(cloud, identifier, old)
        if live is None:
            return None
        inputs = inputs_from(resource, old_inputs, live, cloud.default_tags)
        return resource.identify(identifier, live), inputs, state_from(resource, inputs, live, cloud.region)


def trouble(cloud: Cloud, resource: Resource, identifier: str) -> str:
    with _explained("reading", resource, {"id": identifier}):
        return resource.trouble(cloud, identifier)


def delete(cloud: Cloud, resource: Resource, identifier: str, old: Values) -> None:
    with _explained("deleting", resource, {"id": identifier}):
        resource.delete(cloud, identifier, old)


def _state(cloud: Cloud, resource: Resource, identifier: str, inputs: Values) -> Values:
    live = resource.read(cloud, identifier, inputs)
    if live is None:
        raise ProviderError(f"{resource.label} ({identifier}) was made but cannot be found")
    return state_from(resource, inputs, live, cloud.region)


@contextmanager
def _explained(doing: str, resource: Resource, known: Values) -> Iterator[None]:
    name = known.get("id") or known.get("name") or known.get("bucket") or known.get("resourceId") or ""
    action = f"{doing} {resource.label} ({name})" if name else f"{doing} {resource.label}"
    try:
        yield
    except (ProviderError, InitializationFailed):
        raise
    except (ClientError, BotoCoreError, OSError) as error:
        raise aws_error(action, error) from None
