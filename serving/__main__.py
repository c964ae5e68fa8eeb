"""`python -m serving`: loads one unpacked artifact and serves it on one port."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TextIO

from serving import cores, logs, settings
from serving.errors import ModelError


def main(arguments: list[str] | None = None) -> int:
    """Serves until it is told to stop. Returns 0; 1 where nothing can be served, the reason as stderr's last line."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["serve"], help="what SageMaker starts a container with")
    parser.add_argument("--model-dir", type=Path, default=Path("/opt/ml/model"), help="the unpacked model.tar.gz")
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")), help="0 picks a free one"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input closes")
    parser.add_argument("--threads", metavar="VALUE", help="threads of one run of the model (SLIPWAY_THREADS)")
    settings.add_flags(parser)
    options = parser.parse_args(arguments)
    logs.configure()
    if options.threads is not None:
        os.environ["SLIPWAY_THREADS"] = options.threads
    if options.exit_with_parent:
        threading.Thread(target=_follow_stdin, daemon=True).start()
    # A pool of tokenizing threads beside ONNX Runtime's would only make both wait.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with _claim_stdout() as announcements:
        return _serve(options, announcements)


def _serve(options: argparse.Namespace, announcements: TextIO) -> int:
    directory: Path = options.model_dir
    try:
        chosen = settings.read(options)
        listener = _bind(options.host, options.port)
        if not directory.is_dir():
            raise ModelError(f"{directory}: there is no such folder; --model-dir names an unpacked model.tar.gz")
        # Heavy libraries are imported after a taken port or a missing folder was reported.
        from serving import handler, program, server

        def share_cores(at_once: bool) -> None:
            nonlocal chosen
            threads, workers = cores.share(
                cores.usable_cores(), handler.wanted_threads(), chosen.workers, at_once=at_once
            )
            os.environ["SLIPWAY_THREADS"] = str(threads)  # the handler's one way to be told
            chosen = dataclasses.replace(chosen, workers=workers)

        loaded = program.load(directory.resolve(), share_cores)
    except ModelError as error:
        if error.__cause__ is not None:
            logging.getLogger("serving").error("the model cannot be loaded", exc_info=error)
        print(" ".join(str(error).split()), file=sys.stderr, flush=True)
        return 1
    server.run(loaded, listener, announcements, chosen)
    return 0


def _bind(host: str, port: int) -> socket.socket:
    """A socket that holds the port and does not listen yet, so that nothing connects before the model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"port {port} on {host} cannot be used: {reason}; choose another with --port") from None
    return listener


def _claim_stdout() -> TextIO:
    """Standard output for the ready line alone: what a model's own code prints goes to stderr instead.

    Otherwise it could be taken for the ready line, or fill a pipe that nobody reads any more.
    """
    announcements = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return announcements


def _follow_stdin() -> None:
    """Ends this process, as SIGTERM does, when the parent closes or leaves the pipe."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
