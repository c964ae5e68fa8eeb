"""What the Pulumi engine runs (`main: infra` in Pulumi.yaml)."""

import sys

import pulumi

# The engine starts in this folder; the checkout that it was started from is what is deployed, wherever the
# environment's own `slipway` was installed from.
sys.path.insert(0, pulumi.get_root_directory())

from infra.program import run

run()
