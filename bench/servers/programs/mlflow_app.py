"""An MLflow model around `lean.Model`. `python mlflow_app.py FOLDER` saves it there, from this code and unpickled."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lean
import mlflow
from mlflow.pyfunc import PythonModel


class Predictor(PythonModel):
    def load_context(self, context: Any) -> None:
        self.model = lean.load()

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        inputs = model_input if isinstance(model_input, dict) else str(model_input[0])
        return self.model.predict([inputs])[0]


mlflow.models.set_model(Predictor())

if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model=str(Path(__file__).resolve()), pip_requirements=[])
