"""What the Pulumi engine runs for `--policy-pack infra/policy`: the rules, as policies over a whole stack."""

from __future__ import annotations

import sys
from pathlib import Path

# The engine starts this folder, wherever it is itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pulumi_policy import PolicyPack

from infra.policy.pack import policies
from infra.policy.rules import RULES

PolicyPack("slipway", [policy for rule in RULES for policy in policies(rule)])
