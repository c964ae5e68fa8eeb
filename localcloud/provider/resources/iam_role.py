"""aws:iam/role:Role. Its policies are RolePolicy resources."""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import unquote

from localcloud.provider.apishape import tag_list, tag_map
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import TAGS, Autoname, Resource, document, flag, integer, text
from localcloud.provider.values import Values


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(8))
    arguments: dict[str, Any] = {
        "RoleName": name,
        "Path": inputs["path"],
        "AssumeRolePolicyDocument": inputs["assumeRolePolicy"],
        "MaxSessionDuration": inputs["maxSessionDuration"],
        "Tags": tag_list(cloud.tags(inputs)),
    }
    if inputs.get("description"):
        arguments["Description"] = inputs["description"]
    if inputs.get("permissionsBoundary"):
        arguments["PermissionsBoundary"] = inputs["permissionsBoundary"]
    cloud.iam.create_role(**arguments)
    return name


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        role: Any = cloud.iam.get_role(RoleName=identifier)["Role"]
    except cloud.iam.exceptions.NoSuchEntityException:
        return None
    return {
        "name": role["RoleName"],
        "path": role["Path"],
        "assumeRolePolicy": policy_text(role["AssumeRolePolicyDocument"]),
        "description": role.get("Description"),
        "maxSessionDuration": role.get("MaxSessionDuration"),
        "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
        "tags": tag_map(role.get("Tags", [])),
        "arn": role["Arn"],
        "createDate": role["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uniqueId": role["RoleId"],
    }


def policy_text(answered: Any) -> str:
    """botocore parses the documents that it knows of and leaves the others URL-encoded."""
    return unquote(answered) if isinstance(answered, str) else json.dumps(answered)


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    cloud.iam.update_assume_role_policy(RoleName=identifier, PolicyDocument=new["assumeRolePolicy"])
    cloud.iam.update_role(
        RoleName=identifier,
        Description=new.get("description", ""),
        MaxSessionDuration=new["maxSessionDuration"],
    )
    boundary = new.get("permissionsBoundary")
    if boundary:
        cloud.iam.put_role_permissions_boundary(RoleName=identifier, PermissionsBoundary=boundary)
    elif old.get("permissionsBoundary"):
        cloud.iam.delete_role_permissions_boundary(RoleName=identifier)
    live: Any = cloud.iam.list_role_tags(RoleName=identifier)["Tags"]
    wanted: Any = cloud.tags(new)
    stale = sorted(tag_map(live).keys() - wanted.keys())
    if stale:
        cloud.iam.untag_role(RoleName=identifier, TagKeys=stale)
    if wanted:
        tags = tag_list(wanted)
        cloud.iam.tag_role(RoleName=identifier, Tags=tags)


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    try:
        if old.get("forceDetachPolicies"):
            for name in cloud.iam.list_role_policies(RoleName=identifier)["PolicyNames"]:
                cloud.iam.delete_role_policy(RoleName=identifier, PolicyName=name)
            for policy in cloud.iam.list_attached_role_policies(RoleName=identifier)["AttachedPolicies"]:
                cloud.iam.detach_role_policy(RoleName=identifier, PolicyArn=policy["PolicyArn"])
        cloud.iam.delete_role(RoleName=identifier)
    except cloud.iam.exceptions.NoSuchEntityException:
        return


RESOURCE = Resource(
    label="IAM Role",
    service="iam",
    inputs={
        "assumeRolePolicy": document(required=True),
        "description": text(),
        "forceDetachPolicies": flag(default=False, write_only=True),
        "maxSessionDuration": integer(default=3600),
        "name": text(force_new=True, computed=True),
        "namePrefix": text(force_new=True, computed=True),
        "path": text(default="/", force_new=True),
        "permissionsBoundary": text(),
        "tags": TAGS,
    },
    rejected=("inlinePolicies", "managedPolicyArns"),
    outputs=("arn", "createDate", "uniqueId"),
    autoname=Autoname(prefix_property="namePrefix", longest=64),
    import_id="the role's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
