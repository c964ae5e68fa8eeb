"""Federated sources without Flower: what a spec may say, what a node's key is made of, what is heard, what travels."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from report_samples import report as sample

from model_build import report, report_html, rounds
from model_build.errors import UserError
from model_build.federated import learning
from model_build.federated.job import FAILED, ROUND, WEIGHTS, Job
from model_build.inputs import Inputs
from model_build.loading import read
from model_build.sources import federated, federated_app, federated_environment, federated_processes
from model_build.spec import FederatedSource, Spec

CODE = """
import numpy as np
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

def client(partition, partitions, count=40):
    random = np.random.default_rng(partition)
    labels = random.integers(0, 2, count)
    pictures = random.normal(60, 20, (count, 4, 4)) + 120 * labels[:, None, None]
    return pictures.clip(0, 255).astype(np.uint8), labels
"""
SOURCE: dict[str, Any] = {"factory": "shops.net:build", "clients": {"factory": "shops.net:client", "number": 3}}
SPEC: dict[str, Any] = {
    "name": "m",
    "task": "image-classification",
    "labels": ["dark", "light"],
    "image": {"mode": "L", "size": [4, 4]},
    "source": {"federated": SOURCE},
    "data": {"evaluation": {"factory": "shops.net:client", "args": {"partition": 9, "partitions": 3}}},
}
FAR = {"superlink": "fleet.example.com:8000", "certificate": "trust/ca.pem", "run": "first"}
ACCOUNT: dict[str, Any] = {
    "where": "simulation",
    "run": None,
    "flwr": "1.41.0",
    "strategy": "fedprox",
    "proximal_mu": 0.1,
    "epochs": 1,
    "rounds": [
        {
            "round": 1,
            "clients": [
                {"client": 0, "samples": 9, "loss": 0.5, "seconds": 0.1, "held_out": 1, "score": 0.5},
                {"client": 2, "samples": 9, "loss": 0.5, "seconds": 0.1, "held_out": 3, "score": 0.75},
            ],
            "failed": [{"client": 1, "why": "training: its process was <killed> by signal 9"}],
            "loss": 0.61,
            "score": 0.6875,
            "seconds": 1.25,
        }
    ],
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("shops", "specs", "trust"):
        (tmp_path / folder).mkdir()
    (tmp_path / "shops/__init__.py").touch()
    (tmp_path / "shops/net.py").write_text(CODE)
    (tmp_path / "shops/secret.npz").write_bytes(b"the client's own")
    (tmp_path / "trust/ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "specs/m.yaml").write_text(json.dumps(SPEC))
    return tmp_path


def spec(**source: Any) -> Spec:
    return Spec.model_validate(SPEC | {"source": {"federated": SOURCE | source}})


def key(project: Path, **source: Any) -> str:
    return Inputs(spec(**source), project).source_key()


def job(project: Path, **source: Any) -> Job:
    return federated.job_of(spec(**source), project, weights=str(project / "w.safetensors"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strategy": "fedprox"}, "proximal_mu belongs to strategy: fedprox"),
        ({"proximal_mu": 0.1}, "proximal_mu belongs to strategy: fedprox"),
        ({"min_clients": 4}, "min_clients (4) is more than the 3 clients"),
        ({"certificate": "trust/ca.pem"}, "certificate belongs to a superlink"),
        ({"superlink": "fleet.example.com:8000", "run": "a"}, "needs its root certificate"),
        ({"superlink": "127.example.com:8000", "run": "a"}, "needs its root certificate"),
        ({"superlink": "127.0.0.1:8000"}, "a superlink needs a run"),
        ({"superlink": "http://fleet:8000", "run": "a"}, "pattern"),
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FederatedSource.model_validate(SOURCE | values)
    assert message in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_superlink_of_this_machine_may_go_without_a_certificate(host: str) -> None:
    assert FederatedSource.model_validate(SOURCE | {"superlink": f"{host}:8000", "run": "a"}).on_this_machine


def test_check_sees_that_the_clients_factory_takes_a_partition(project: Path) -> None:
    (project / "shops/net.py").write_text(CODE.replace("partition, partitions", "partition"))
    _, problems = read(project / "specs/m.yaml", project)
    assert any("client() has no parameter 'partitions'" in str(problem) for problem in problems)


def test_check_finds_nothing_in_a_good_spec(project: Path) -> None:
    found, problems = read(project / "specs/m.yaml", project)
    assert found is not None
    assert not problems


def test_the_key_changes_with_settings_code_data_and_flower(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key(project), key(project, rounds=3), key(project, seed=7), key(project, run="again")}
    (project / "shops/secret.npz").write_bytes(b"other samples")
    keys.add(key(project))
    monkeypatch.setattr(federated_environment, "flwr_version", lambda: "2.0")
    keys.add(key(project))
    assert len(keys) == 6


def test_a_federations_key_is_its_run_and_no_librarys_version(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(project, **FAR)
    monkeypatch.setattr(federated_environment, "flwr_version", lambda: "2.0")
    monkeypatch.setattr(federated, "LIBRARIES", ())
    (project / "trust/ca.pem").write_text("-----BEGIN CERTIFICATE-----\nrenewed\n")
    assert key(project, **FAR) == before
    assert key(project, **(FAR | {"run": "second"})) != before


def test_without_its_environment_the_next_step_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(federated_environment, "DIRECTORY", project / "none")
    with pytest.raises(UserError) as caught:
        federated.make(spec(), project, project)
    assert caught.value.next_step == "make federated"


def test_the_locked_version_of_flower_is_read() -> None:
    assert federated_environment.flwr_version() == "1.41.0"


@pytest.fixture
def torch_as_it_was() -> Iterator[None]:
    """A client has its process for itself and sets PyTorch up for all of it; these tests share theirs."""
    import torch

    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        yield
    torch.use_deterministic_algorithms(before)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("torch_as_it_was")
def test_training_gives_the_same_weights_each_time_and_learns(project: Path) -> None:
    one = job(project, learning_rate=0.1)
    samples = learning.Samples(one, 0, 3)
    assert len(samples.training) + len(samples.held_out) == 40
    assert not set(samples.training.tolist()) & set(samples.held_out.tolist())
    digests = set()
    for _ in range(2):
        module = learning.module(one)
        losses = [learning.train(module, samples, one, number, 0, 0.0) for number in range(1, 4)]
        digests.add(hashlib.sha256(b"".join(a.tobytes() for a in learning.arrays_of(module).values())).hexdigest())
        assert losses[-1] < losses[0]
    assert len(digests) == 1


@pytest.mark.usefixtures("torch_as_it_was")
def test_fedprox_holds_weights_near_those_that_came(project: Path) -> None:
    one = job(project, learning_rate=0.05, schedule="constant", momentum=0.0)
    samples = learning.Samples(one, 0, 3)
    moved = []
    for mu in (0.0, 10.0):
        module = learning.module(one)
        before = learning.arrays_of(module)
        learning.train(module, samples, one, 1, 0, mu)
        after = learning.arrays_of(module)
        moved.append(sum(((after[name] - before[name]) ** 2).sum() for name in ("1.weight", "4.weight")))
    assert moved[1] < moved[0]


@pytest.mark.usefixtures("torch_as_it_was")
def test_weights_of_another_model_are_refused(project: Path) -> None:
    module = learning.module(job(project))
    arrays = learning.arrays_of(module)
    del arrays["1.bias"]
    with pytest.raises(UserError, match=r"another model's: 1\.bias differ"):
        learning.load(module, arrays)


def test_the_step_size_falls_by_a_cosine_or_stays(project: Path) -> None:
    falling = job(project, rounds=4, learning_rate=0.2)
    assert [round(learning.step_size(falling, number), 3) for number in range(1, 5)] == [0.2, 0.171, 0.1, 0.029]
    assert learning.step_size(job(project, rounds=4, learning_rate=0.2, schedule="constant"), 4) == 0.2


def test_no_data_and_nothing_of_this_machine_travels(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    app = tmp_path_factory.mktemp("app")
    one = spec(**FAR)
    federated_app.write(one, federated.job_of(one, project, None), project, app)
    sent = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    assert {"shops/net.py", "shops/__init__.py", "job.json", "pyproject.toml", "serving/config.py"} <= sent
    assert {"model_build/federated/client.py", "model_build/federated/server.py", "model_build/factories.py"} <= sent
    assert not any(path.endswith((".npz", ".pem", ".yaml")) for path in sent)
    text = "".join((app / path).read_text() for path in sent if path.startswith("job") or path.endswith(".toml"))
    assert str(project) not in text
    assert 'serverapp = "model_build.federated.server:app"' in text
    assert "flwr==1.41.0" in text


def lines_of(content: bytes, size: int = 4) -> list[str]:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    digest = hashlib.sha256(content).hexdigest()
    return [f"{WEIGHTS}{n} {len(pieces)} {digest} {base64.b64encode(one).decode()}" for n, one in enumerate(pieces)]


def test_weights_are_put_together_from_a_log_in_any_order() -> None:
    heard = federated_processes.Heard(lambda _: None)
    *first, last = lines_of(b"some weights")
    for line in reversed(first):
        heard.line(line)
    assert heard.weights() is None
    heard.line("something of Flower's")
    heard.line(last)
    assert heard.weights() == b"some weights"


def test_damaged_weights_are_not_taken() -> None:
    heard = federated_processes.Heard(lambda _: None)
    for line in lines_of(b"some weights"):
        heard.line(line.replace(base64.b64encode(b"some").decode(), base64.b64encode(b"evil").decode()))
    with pytest.raises(UserError, match="damaged"):
        heard.weights()
    with pytest.raises(UserError, match="damaged line"):
        heard.line(f"{WEIGHTS}0 1")


def test_rounds_are_told_as_they_come_and_the_apps_reason_is_given() -> None:
    notes: list[str] = []
    heard = federated_processes.Heard(notes.append)
    heard.line(ROUND + json.dumps(ACCOUNT["rounds"][0]))
    assert notes == ["round 1  2 clients, client 1 failed  held-out loss 0.6100, accuracy 0.6875  1.2 s"]
    heard.line("\x1b[92mINFO \x1b[0m: some line")
    assert "INFO : some line" in str(heard.why("it exited 1"))
    heard.line(FAILED + json.dumps({"message": "round 1: too few", "next_step": "mend them"}))
    assert str(heard.why("it exited 1")) == "round 1: too few\n  next: mend them"


def test_the_reports_show_the_rounds_of_a_federated_source_alone() -> None:
    for page in (report.markdown(sample(federated=ACCOUNT)), report_html.page(sample(federated=ACCOUNT))):
        assert "FedProx (mu 0.1), 1 round of 1 epoch" in page
        assert "1 of the rounds went on without some client" in page
        assert "0.500–0.750" in page
        assert "Rounds" in page
    assert "client 1: training: its process was &lt;killed&gt; by signal 9" in page
    assert "Rounds" not in report.markdown(sample())
    assert "<h2>Rounds" not in report_html.page(sample())


def test_a_federations_account_names_it() -> None:
    account = ACCOUNT | {"where": "fleet.example.com:8000", "run": "first", "strategy": "fedavg"}
    assert rounds.sentence(account).startswith(
        "Trained in the federation of fleet.example.com:8000, run first by Flower 1.41.0: FedAvg"
    )


def test_only_classes_are_learned(project: Path) -> None:
    (project / "specs/m.yaml").write_text(json.dumps(SPEC | {"task": "object-detection"}))
    _, problems = read(project / "specs/m.yaml", project)
    assert any("source.federated: learns classes; the task must be one of" in str(one) for one in problems)
