"""Federated sources with Flower itself: simulations whose clients die, and a federation over TLS on this machine.

Flower is in an environment of its own, made on the first run (87 MB).
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from model_build import build, loading
from model_build.errors import UserError
from model_build.sources import federated, federated_environment
from model_build.spec import Spec

pytestmark = pytest.mark.contract

CODE = '''
"""Dark and light pictures. A client can be told to die, to sleep or to fail, once in a project or always."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from torch import nn


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def client(partition, partitions, once="", dies=-1, sleeps=-1, fails=-1):
    if once and not (mark := Path(f"{once}-{partition}")).exists():
        mark.touch()
        if partition == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if partition == sleeps:
            time.sleep(600)
    if partition == fails:
        raise OSError("the shop is shut")
    random = np.random.default_rng(partition)
    labels = random.integers(0, 2, 60 + 20 * partition)
    pictures = random.normal(60, 20, (len(labels), 4, 4)) + 120 * labels[:, None, None]
    return pictures.clip(0, 255).astype(np.uint8), labels
'''


@pytest.fixture(scope="module", autouse=True)
def environment() -> Path:
    return federated_environment.make()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "specs").mkdir()
    (tmp_path / "shops").mkdir()
    (tmp_path / "shops/net.py").write_text(CODE)
    return tmp_path


def written(project: Path, args: dict[str, Any] | None = None, **source: Any) -> Spec:
    clients = {"factory": "shops.net:client", "number": 4, "args": args or {}}
    values = {
        "name": "shops",
        "task": "image-classification",
        "labels": ["dark", "light"],
        "image": {"mode": "L", "size": [4, 4]},
        "source": {"federated": {"factory": "shops.net:build", "clients": clients, "rounds": 2} | source},
        "data": {"evaluation": {"factory": "shops.net:client", "args": {"partition": 8, "partitions": 4}}},
        "optimize": {"candidates": [["export_onnx"]]},
        "measure": {"rounds": 1, "requests": 5},
    }
    path = project / "specs/shops.yaml"
    path.write_text(yaml.safe_dump(values))
    return loading.load(path, project)


def trained(spec: Spec, project: Path, folder: str) -> tuple[str, dict[str, Any]]:
    """The digest of the weights, and the account."""
    directory = project / folder
    directory.mkdir()
    federated.make(spec, project, directory)
    digest = hashlib.sha256((directory / federated.WEIGHTS).read_bytes()).hexdigest()
    return digest, json.loads((directory / federated.ACCOUNT).read_bytes())


def test_a_client_that_is_killed_and_one_that_hangs_do_not_lose_the_round(project: Path) -> None:
    args = {"once": str(project / "mark"), "dies": 1, "sleeps": 2}
    spec = written(project, args, round_limit="10s", strategy="fedprox", proximal_mu=0.1)
    outcome = build.build(spec, project)
    account = json.loads((outcome.directory / "report.json").read_bytes())["federated"]
    first, second = account["rounds"]
    assert [one["client"] for one in first["clients"]] == [0, 3]
    assert first["failed"][0] == {"client": 1, "why": "training: its process was killed by signal 9"}
    assert first["failed"][1] == {"client": 2, "why": "training: no answer within 10 s"}
    assert [one["client"] for one in second["clients"]] == [0, 1, 2, 3]
    assert not second["failed"]
    assert "killed by signal 9" in (outcome.directory / "report.md").read_text()
    assert "no answer within 10 s" in (outcome.directory / "report.html").read_text()


def test_the_same_spec_gives_the_same_weights_and_clients_are_drawn_by_the_seed(project: Path) -> None:
    spec = written(project, fraction=0.5, rounds=3)
    one, account = trained(spec, project, "one")
    again, second = trained(spec, project, "again")
    assert one == again
    drawn = [[client["client"] for client in each["clients"]] for each in account["rounds"]]
    assert drawn == [[client["client"] for client in each["clients"]] for each in second["rounds"]]
    assert all(len(each) == 2 for each in drawn)


def test_too_few_answers_fail_the_build_with_what_the_clients_said(project: Path) -> None:
    spec = written(project, {"fails": 3}, min_clients=4)
    (project / "node").mkdir()
    with pytest.raises(UserError) as caught:
        federated.make(spec, project, project / "node")
    assert "round 1: 3 of 4 clients answered, and min_clients is 4" in caught.value.message
    assert "client 3: training: source.federated.clients.factory: shops.net:client failed" in caught.value.message
    assert "the shop is shut" in caught.value.message


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def certificates(folder: Path) -> None:
    """An authority of its own (`ca.pem`), and what it signed for this machine (`server.pem`, `server.key`)."""
    now = datetime.datetime.now(datetime.UTC)

    def signed(name: str, key: Any, by: Any, authority: bool) -> bytes:
        named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, "authority")]
        builder = x509.CertificateBuilder(*reversed(named), key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
        builder = builder.add_extension(own, critical=False).add_extension(above, critical=False)
        if authority:
            usage = (True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(x509.KeyUsage(*usage), critical=True)
        else:
            here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(here), critical=False)
        return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (folder / "ca.pem").write_bytes(signed("authority", authority, authority, True))
    (folder / "server.pem").write_bytes(signed("localhost", server, authority, False))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    (folder / "server.key").write_bytes(server.private_bytes(*form))


@pytest.fixture
def superlink(tmp_path: Path, environment: Path) -> Iterator[int]:
    """The port of a SuperLink with two SuperNodes, over TLS."""
    certificates(tmp_path)
    port = free_port()
    with ExitStack() as stack:

        def start(name: str, program: str, *options: str) -> None:
            around = {
                **os.environ,
                "PATH": f"{environment.parent}{os.pathsep}{os.environ['PATH']}",
                "FLWR_HOME": str(tmp_path / name),
                "FLWR_TELEMETRY_ENABLED": "0",
                "FLWR_DISABLE_UPDATE_CHECK": "1",
            }
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [environment.with_name(program), *options], cwd=tmp_path, env=around, stdout=log, stderr=log
            )
            stack.callback(ended, process)

        trust = ("--ssl-ca-certfile", "ca.pem", "--ssl-certfile", "server.pem", "--ssl-keyfile", "server.key")
        start("link", "flower-superlink", *trust, "--port", str(port), "--disable-runtime-dependency-installation")
        answers(port, tmp_path)
        for number in range(2):
            where = ("--superlink", f"127.0.0.1:{port}", "--root-certificates", "ca.pem", "--port", str(free_port()))
            node = ("--node-config", f"partition-id={number} num-partitions=2")
            start(f"node{number}", "flower-supernode", *where, *node)
        yield port


def answers(port: int, folder: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError((folder / "link.log").read_text())


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def test_a_federation_over_tls_trains_and_its_log_brings_the_weights(project: Path, superlink: int) -> None:
    far = {"superlink": f"localhost:{superlink}", "certificate": "ca.pem", "run": "first"}
    spec = written(project, **far, rounds=1, held_out=0, round_limit="2m")
    _, account = trained(spec, project, "node")
    (only,) = account["rounds"]
    assert (account["where"], account["run"]) == (f"localhost:{superlink}", "first")
    assert [one["client"] for one in only["clients"]] == [0, 1]
    assert [one["samples"] for one in only["clients"]] == [60, 80]
    module = federated.load_module("shops.net:build", {}, {"": project / "node" / federated.WEIGHTS}, project)
    assert sum(parameter.numel() for parameter in module.parameters()) == 16 * 8 + 8 + 16 + 8 * 2 + 2


def test_a_superlink_that_is_not_there_is_told(project: Path) -> None:
    spec = written(project, superlink=f"127.0.0.1:{free_port()}", run="first")
    (project / "node").mkdir()
    with pytest.raises(UserError, match=r"did not take the app|did not answer"):
        federated.make(spec, project, project / "node")
