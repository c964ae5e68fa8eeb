"""A Grid of Flower's whose clients are processes of this machine, without Ray and without a network.

Each is forked with the libraries loaded and keeps its samples from round to round. Messages cross pipes as Flower's own
protocol buffers. One that dies or is too slow becomes an error in its round, and is started again for the next.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from model_build import factories
from model_build.errors import UserError

Answering = Callable[[Message, Context], Message]

RUN = 1
ENDING = 5
"""Seconds that a client gets to end by itself."""
_fork = multiprocessing.get_context("fork")


class Client:
    """One client's process, while it lives."""

    def __init__(self, node: int, clients: int, answering: Answering, others: Iterable[Connection]) -> None:
        self.pipe, inner = _fork.Pipe()
        arguments = (answering, node, clients, inner, [self.pipe, *others])
        self.process: BaseProcess = _fork.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        inner.close()

    def end(self) -> int | None:
        """Ends it; gives the exit code that it had already, if it had."""
        self.pipe.close()
        self.process.join(ENDING)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.end()


class LocalGrid(Grid):  # type: ignore[misc]  # flwr is not there when types are checked
    """Nodes are numbered from 1; node n is client n - 1. `at_once` clients work at the same time."""

    def __init__(self, answering: Answering, clients: int, at_once: int) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = RUN
        TaskIdentity.node_id = 0
        self.answering = answering
        self.count = clients
        self.at_once = at_once
        self.clients: dict[int, Client] = {}

    def set_run(self, run: Any) -> None:
        self._run = run

    @property
    def run(self) -> Any:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(range(1, self.count + 1))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError("a simulation sends and receives at once")

    pull_messages = push_messages

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The answers, in the order of the nodes; an Error where one failed or took longer than `timeout` seconds."""
        waiting = deque(sorted(messages, key=lambda message: message.metadata.dst_node_id))
        allowed = math.inf if timeout is None else timeout
        at_work: dict[Connection, Message] = {}
        deadlines: dict[Connection, float] = {}
        replies: list[Message] = []
        while waiting or at_work:
            while waiting and len(at_work) < self.at_once:
                message = waiting.popleft()
                pipe = self._client(message.metadata.dst_node_id).pipe
                at_work[pipe], deadlines[pipe] = message, time.monotonic() + allowed
                try:
                    pipe.send_bytes(message_to_proto(message).SerializeToString())
                except OSError:  # it ended since: reading says so too
                    continue
            left = max(0.0, min(deadlines[pipe] for pipe in at_work) - time.monotonic())
            ready = wait([*at_work, sys.stdin.fileno()], None if left == math.inf else left)
            if sys.stdin.fileno() in ready and not sys.stdin.buffer.read(1):
                self.close()
                os._exit(1)  # whoever started this ended
            for pipe in [one for one in at_work if one in ready]:
                replies.append(self._received(pipe, at_work.pop(pipe)))
            now = time.monotonic()
            for pipe in [one for one in at_work if deadlines[one] <= now]:
                message = at_work.pop(pipe)
                self.clients.pop(message.metadata.dst_node_id).kill()
                replies.append(_failed(message, f"no answer within {timeout:g} s", False))
        return sorted(replies, key=lambda reply: int(reply.metadata.src_node_id))

    def _client(self, node: int) -> Client:
        if node not in self.clients:
            others = [client.pipe for client in self.clients.values()]
            self.clients[node] = Client(node, self.count, self.answering, others)
        return self.clients[node]

    def _received(self, pipe: Connection, message: Message) -> Message:
        try:
            return message_from_proto(ProtoMessage.FromString(pipe.recv_bytes()))
        except (EOFError, OSError):
            code = self.clients.pop(message.metadata.dst_node_id).end()
            how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited {code}"
            return _failed(message, f"its process {how}", True)

    def close(self) -> None:
        for client in self.clients.values():
            client.pipe.close()
        for client in self.clients.values():
            client.end()
        self.clients.clear()


def _failed(message: Message, why: str, crashed: bool) -> Message:
    code = ErrorCode.CLIENT_APP_CRASHED if crashed else ErrorCode.NODE_UNAVAILABLE
    return Message(Error(code, why), reply_to=message)


def _serve(answering: Answering, node: int, clients: int, pipe: Connection, others: list[Connection]) -> None:
    """What a client's process does: answers until the other end of the pipe is closed."""
    for other in others:  # else it would keep the pipes of others open, and they would outlive the server
        other.close()
    TaskIdentity.node_id = node
    config = {"partition-id": node - 1, "num-partitions": clients}
    context = Context(run_id=RUN, node_id=node, node_config=config, state=RecordDict(), run_config={})
    while True:
        try:
            message = message_from_proto(ProtoMessage.FromString(pipe.recv_bytes()))
        except (EOFError, OSError):
            return
        try:
            reply = answering(message, context)
        except UserError as error:
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=message)
        except Exception as error:  # the client's own code may raise anything
            reason = factories.last_line(error)
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)
        pipe.send_bytes(message_to_proto(reply).SerializeToString())
