"""Starts a SageMaker inference toolkit (`torchserve` or `mms`, the argument) as AWS's image does, without root.

The toolkits write their settings to /etc and look for their server among all processes of the machine: here the
settings go where SLIPWAY_BENCH_SETTINGS says, and the server is one of this session.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import psutil


def of_this_session(every: Any = psutil.process_iter) -> Any:
    for process in every():
        try:
            if os.getsid(process.pid) == os.getsid(0):
                yield process
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    psutil.process_iter = of_this_session
    if sys.argv[1] == "torchserve":
        from sagemaker_pytorch_serving_container import serving, torchserve

        torchserve.TS_CONFIG_FILE = os.environ["SLIPWAY_BENCH_SETTINGS"]
        serving.main()
    else:
        from sagemaker_inference import model_server

        model_server.MMS_CONFIG_FILE = os.environ["SLIPWAY_BENCH_SETTINGS"]
        model_server.start_model_server(handler_service="sagemaker_inference.default_handler_service")
