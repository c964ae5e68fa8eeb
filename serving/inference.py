"""The artifact's `code/inference.py` where a spec brings none of its own: the build copies this file there.

Nothing imports it from here.
"""

import sys
from pathlib import Path

# AWS's toolkits put their own folder, which has a `serving.py`, before this one on the path.
sys.path.insert(0, str(Path(__file__).parent))

from serving.handler import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
