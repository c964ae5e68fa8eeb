"""What the Pulumi engine runs (`main: .` in infra/bootstrap/Pulumi.yaml)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.bootstrap.program import run

run()
