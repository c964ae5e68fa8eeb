"""docs/aws.md says what the program does: a setting or a permission cannot be added without it."""

import json
import re
from pathlib import Path

from infra import names
from infra.settings import KEYS

PAGE = (Path(__file__).parents[2] / "docs/aws.md").read_text()
POLICY = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])


def allowed(sid):
    return next(statement for statement in POLICY["Statement"] if statement["Sid"] == sid)


def listed(value):
    return [value] if isinstance(value, str) else value


def test_every_setting_has_its_row():
    assert sorted(re.findall(r"^\| `slipway:(\w+)` \|", PAGE, re.MULTILINE)) == sorted(KEYS)


def test_the_deploying_role_may_undo_what_it_does():
    actions = {action for statement in POLICY["Statement"] for action in listed(statement["Action"])}
    assert "application-autoscaling:DeregisterScalableTarget" in actions
    # The role that autoscaling keeps for itself outlives the stack.
    for made in {action for action in actions if re.search(":(Create|Register)", action)} - {
        "iam:CreateServiceLinkedRole"
    }:
        undone = made.replace(":Create", ":Delete").replace(":Register", ":Deregister")
        assert undone in actions, made


def test_the_deploying_role_reaches_what_the_program_names_and_no_more():
    assert allowed("ExecutionRoles")["Resource"].endswith(f":role{names.role_path('dev')}*")
    assert allowed("HandRolesToSageMaker")["Resource"] == allowed("ExecutionRoles")["Resource"]
    assert allowed("Bucket")["Resource"] == "arn:aws:s3:::" + names.stem("slipway", "dev") + "-*"
    wide = {statement["Sid"] for statement in POLICY["Statement"] if statement["Resource"] == "*"}
    assert wide == {"AllOfAutoscaling"}
