"""aws:iam/rolePolicy:RolePolicy: a policy inside a role."""

from __future__ import annotations

import secrets

from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import Autoname, Resource, document, text
from localcloud.provider.resources.iam_role import policy_text
from localcloud.provider.values import Values


def create(cloud: Cloud, inputs: Values) -> str:
    name = inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(8)
    cloud.iam.put_role_policy(RoleName=inputs["role"], PolicyName=name, PolicyDocument=inputs["policy"])
    return f"{inputs['role']}:{name}"


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    role, name = _parts(identifier)
    try:
        answer = cloud.iam.get_role_policy(RoleName=role, PolicyName=name)
    except cloud.iam.exceptions.NoSuchEntityException:
        return None
    return {"role": role, "name": name, "policy": policy_text(answer["PolicyDocument"])}


def update(cloud: Cloud, identifier: str, _old: Values, new: Values) -> None:
    role, name = _parts(identifier)
    cloud.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=new["policy"])


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    role, name = _parts(identifier)
    try:
        cloud.iam.delete_role_policy(RoleName=role, PolicyName=name)
    except cloud.iam.exceptions.NoSuchEntityException:
        return


def _parts(identifier: str) -> tuple[str, str]:
    role, _, name = identifier.partition(":")
    return role, name


RESOURCE = Resource(
    label="IAM RolePolicy",
    service="iam",
    inputs={
        "name": text(force_new=True, computed=True),
        "namePrefix": text(force_new=True, computed=True),
        "policy": document(required=True),
        "role": text(required=True, force_new=True),
    },
    outputs=(),
    autoname=Autoname(prefix_property="namePrefix", longest=128),
    import_id="ROLE:POLICY",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
