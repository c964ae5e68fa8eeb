"""LitServe around `lean.Model`: ZeroMQ queues, one worker, one API server process, as fast as its options allow.

LitServe reads the type of `request` from its annotation, so annotations are not strings here.
"""

import os
from typing import Any

import lean
import litserve
from fastapi import Request


class Unbatched(litserve.LitAPI):
    def setup(self, device: Any) -> None:
        self.model = lean.load()

    def decode_request(self, request: Request) -> Any:
        return request["inputs"]

    def predict(self, x: Any) -> Any:
        return self.model.predict([x])[0]

    def encode_response(self, output: Any) -> Any:
        return output


class Batched(Unbatched):
    def predict(self, x: Any) -> Any:
        return self.model.predict(x)

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def unbatch(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    api = Unbatched() if lean.batch() == 1 else Batched(max_batch_size=lean.batch(), batch_timeout=0.002)
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=1, fast_queue=True, disable_openapi_url=True
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["SLIPWAY_BENCH_PORT"]),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
