"""A stand-in for `python -m serving` with the same command line, for tests whose subject is the hosting around it.

It starts in a few hundredths of a second. The model's directory tells it what to do (`behaviour.json`): {"answer": …},
{"crash": "reason"}, {"hang": true}, {"status": 415, "body": "…"}, {"die_on": "body"}, {"delay": seconds},
{"crash_while": "path of a file"}, {"parts": ["one", "two"]} (streamed), {"note": "path"} (each body is appended there),
{"silent": true} (never listens), {"memory_mb": N} (has so much, and needs more), {"killed": true} (while it loads),
{"dies_after": seconds} (of being well).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--exit-with-parent", action="store_true")
    options = parser.parse_args()
    behaviour = json.loads((options.model_dir / "behaviour.json").read_text())
    if options.exit_with_parent:
        threading.Thread(target=exit_with_parent, daemon=True).start()
    if "crash" in behaviour:
        sys.exit(behaviour["crash"])
    if "memory_mb" in behaviour:
        limit = behaviour["memory_mb"] << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        bytearray(limit + 1)
    if "killed" in behaviour:
        print("loading", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if "silent" in behaviour:
        threading.Event().wait()
    if Path(behaviour.get("crash_while", "/nowhere")).exists():
        sys.exit("told to crash")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: two would wait for a delayed acknowledgement

        def do_GET(self) -> None:
            self.answer(503 if behaviour.get("hang") else 200, b"")
            if "dies_after" in behaviour:
                threading.Timer(behaviour["dies_after"], os._exit, (3,)).start()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if behaviour.get("die_on") == body.decode(errors="replace"):
                os._exit(3)
            time.sleep(behaviour.get("delay", 0))
            if "note" in behaviour:
                with Path(behaviour["note"]).open("a") as notes:
                    notes.write(body.decode() + "\n")
            if "parts" in behaviour:
                self.stream(behaviour["parts"])
                return
            if "status" in behaviour:
                self.answer(behaviour["status"], behaviour["body"].encode())
                return
            told = {
                "answer": behaviour.get("answer"),
                "pid": os.getpid(),
                "content_type": self.headers.get("Content-Type"),
                "accept": self.headers.get("Accept"),
                "attributes": self.headers.get("X-Amzn-SageMaker-Custom-Attributes"),
                "length": len(body),
                "environment": {
                    name: os.environ.get(name) for name in ("MODE", "OMP_NUM_THREADS", "AWS_SECRET_ACCESS_KEY")
                },
            }
            self.answer(200, json.dumps(told).encode())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Amzn-SageMaker-Custom-Attributes", "from-the-model")
            self.end_headers()
            self.wfile.write(body)

        def stream(self, parts: list[str]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in parts:
                self.wfile.write(f"{len(part):x}\r\n{part}\r\n".encode())
                self.wfile.flush()
                time.sleep(0.05)
            if behaviour.get("break_off"):
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer((options.host, options.port), Handler)
    print(json.dumps({"event": "ready", "port": server.server_address[1]}), flush=True)
    server.serve_forever()


def exit_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
