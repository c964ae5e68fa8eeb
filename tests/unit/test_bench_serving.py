"""The bars of bench/serving.py on made-up rounds, and what it calls a right answer."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import environments as pinned
from bench import subjects
from bench.load import Closed
from bench.servers import SERVERS, environments
from bench.servers.launch import Launch, Unavailable, environment
from bench.servers.ports import free_ports
from bench.servers.programs import lean
from bench.serving import check, leaves
from bench.serving_results import Measured, Result, bars


def measured(name: str, variant: str, one: float, many: float, p99: float, failed: int = 0) -> Measured:
    rounds = {
        1: [Closed(rps=one, p50=0.1, p99=0.5, requests=100, failed=0)],
        32: [Closed(rps=many, p50=1, p99=p99, requests=100, failed=failed)],
    }
    return Measured(name, variant, f"{name}, {variant}", [0.5], rounds, 100)


def result(model: str, *servers: Measured) -> Result:
    run = {"rps": 1e5, "p50_us": 10.0, "p99_us": 20.0}
    return Result(model, list(servers), {}, [{"rps": 1000.0, "p50_us": 1, "p99_us": 1}], [run])


def told(*results: Result) -> dict[str, float]:
    return {bar.what: bar.value for bar in bars(results)}


def test_the_best_of_all_peers_is_what_ours_is_divided_by_in_each_column() -> None:
    ours = measured("slipway", "default", 6000, 20000, 3)
    found = told(
        result("mlp", ours, measured("mlflow", "plain", 3000, 1000, 40), measured("mlserver", "plain", 2000, 2500, 12))
    )
    assert found["mlp, 1 client: times the best peer (mlflow, plain)"] == 2
    assert found["mlp, 32 clients: times the best peer (mlserver, plain)"] == 8
    assert found["mlp, 32 clients: p99 against the best peer's (mlserver, plain)"] == 0.25


def test_a_peer_that_fails_requests_is_nobodys_best() -> None:
    ours = measured("slipway", "default", 6000, 20000, 3)
    quick_but_wrong = measured("bentoml", "batched", 9000, 90000, 0.1, failed=50)
    found = told(result("mlp", ours, quick_but_wrong, measured("mlserver", "plain", 2000, 2500, 12)))
    assert found["mlp, 32 clients: times the best peer (mlserver, plain)"] == 8


def test_vectorised_batching_has_a_bar_of_its_own() -> None:
    ours = measured("slipway", "default", 6000, 20000, 3)
    vectorised = measured("torchserve", "vectorised batching", 500, 10000, 8)
    found = told(result("mlp", ours, vectorised, measured("mlserver", "plain", 2000, 2500, 12)))
    assert found["mlp, 32 clients: times TorchServe's vectorised batching"] == 2
    assert found["mlp, 32 clients: times the best peer (mlserver, plain)"] == 8


def test_overhead_is_what_a_request_takes_over_session_run() -> None:
    found = told(result("mlp", measured("slipway", "default", 6000, 20000, 3)))
    assert found["mlp, 1 client: p50 over session.run, µs"] == pytest.approx(90)
    assert found["mlp, 1 client: p99 over session.run, ms"] == pytest.approx(0.48)


def test_batching_is_compared_with_ours_without_it() -> None:
    default, single = (
        measured("slipway", variant, 6000, many, 3) for variant, many in (("default", 20000), ("batch 1", 16000))
    )
    found = told(result("mlp", default, single))
    assert found["mlp, 32 clients: batching over batch 1"] == 1.25
    assert found["mlp, 1 client: batching over batch 1, a penalty of at most 5 %"] == 1


def test_the_large_model_is_held_against_the_loop_and_awss_toolkits() -> None:
    ours = measured("slipway", "default", 980, 990, 40)
    toolkit = measured("multi-model-server", "SageMaker toolkit", 700, 660, 100)
    found = told(result("news-topics", ours, toolkit, measured("mlserver", "plain", 900, 900, 60)))
    assert found["news-topics, 32 clients: share of the loop without a server"] == 0.99
    assert found["news-topics, 32 clients: times AWS's toolkits (multi-model-server, SageMaker toolkit)"] == 1.5
    assert found["news-topics: MiB of resident memory after load"] == 100


def test_a_server_that_could_not_be_measured_misses_a_bar() -> None:
    one = result("mlp", measured("slipway", "default", 6000, 20000, 3))
    one.unavailable["mlserver, plain"] = "peers-mlserver.txt cannot be installed"
    assert not bars([one])[0].held


def server_that_answers(answers: list[Any]) -> Any:
    remaining = iter(answers)
    launch = Launch([], [str(number) for number in range(len(answers))])
    return SimpleNamespace(launch=launch, label="a server", ask=lambda body: json.dumps(next(remaining)).encode())


def test_a_client_without_time_to_spare_misses_a_bar() -> None:
    ours = measured("slipway", "default", 6000, 20000, 3)
    ours.loads[32].append(Closed(rps=20000, p50=1, p99=3, requests=100, failed=0, client=0.99))
    assert [bar.what for bar in bars([result("mlp", ours)]) if not bar.held] == [
        "share of its core that the client used, its busiest round"
    ]


def test_an_answer_is_right_in_whatever_form_the_server_gives_it() -> None:
    expected = [[{"label": "sport", "score": 0.875}]]
    check(server_that_answers([{"outputs": [{"data": ["sport"]}, {"data": [0.87503]}]}]), expected)
    with pytest.raises(RuntimeError, match="lacks 'sport'"):
        check(server_that_answers([{"outputs": [{"data": ["tech"]}, {"data": [0.875]}]}]), expected)
    with pytest.raises(RuntimeError, match=r"lacks 0\.875"):
        check(server_that_answers([{"outputs": [{"data": ["sport"]}, {"data": [0.7]}]}]), expected)


def test_leaves_are_the_words_and_numbers_of_json() -> None:
    assert list(leaves({"a": [1, {"b": None, "c": "x"}], "d": 0.5})) == [1, "x", 0.5]


def test_the_small_model_gives_each_request_of_a_batch_its_own_rows(tmp_path: Path) -> None:
    model = subjects.mlp(tmp_path / "mlp")
    loaded = lean.Model(model.artifact)
    one_by_one = [loaded.predict([sample])[0] for sample in model.samples]
    together = loaded.predict(list(model.samples))
    for single, batched in zip(one_by_one, together, strict=True):
        assert single["outputs"]["output"][0] == pytest.approx(batched["outputs"]["output"][0], abs=1e-6)


def test_our_own_handler_answers_the_small_model_as_the_bare_loop_does(tmp_path: Path) -> None:
    from serving import handler

    model = subjects.mlp(tmp_path / "mlp")
    context = SimpleNamespace(system_properties={"model_dir": str(model.artifact)})
    loaded = handler.model_fn(str(model.artifact))

    def ask(body: str) -> bytes:
        data = handler.input_fn(body.encode(), "application/json", context)
        return handler.output_fn(handler.predict_fn(data, loaded), "application/json")

    expected = [lean.Model(model.artifact).predict([sample])[0] for sample in model.samples]
    check(SimpleNamespace(launch=Launch([], model.bodies), label="ours", ask=ask), expected)


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_names_its_settings_and_a_locked_set_of_requirements(name: str) -> None:
    server = SERVERS[name]
    assert server.VARIANTS
    assert server.WARM_UP > 0
    if server.REQUIREMENTS is not None:
        locked = Path(__file__).parents[2] / "requirements" / f"{server.REQUIREMENTS}.txt"
        assert "--hash=sha256:" in locked.read_text()


def test_mlserver_is_asked_in_its_own_protocol(tmp_path: Path) -> None:
    from bench.servers import mlserver

    model = subjects.mlp(tmp_path / "mlp")
    launch = mlserver.launch("plain", model, Path("python"), tmp_path, 1)
    (asked,) = json.loads(launch.bodies[0])["inputs"]
    assert (asked["shape"], asked["datatype"]) == ([1, 16], "FP32")
    assert [asked["data"]] == model.samples[0]["x"]


def test_a_program_is_told_its_model_port_and_batch(tmp_path: Path) -> None:
    model = subjects.mlp(tmp_path / "mlp")
    values = environment(tmp_path / "bin/python", model, tmp_path, 5, batch=32)
    assert values["SLIPWAY_BENCH_MODEL"] == str(model.artifact)
    assert (values["SLIPWAY_BENCH_PORT"], values["SLIPWAY_BENCH_BATCH"]) == ("5", "32")


def test_free_ports_differ_and_stay_below_those_that_the_system_hands_out() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert max(ports) < 32768


def test_a_missing_program_is_named_with_the_package_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable, match=r"java is not on PATH .*openjdk"):
        environments.python_of(SERVERS["multi-model-server"])


def test_an_environment_that_cannot_be_made_is_told_with_the_installers_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installer = tmp_path / "uv"
    installer.write_text("#!/bin/sh\necho no such package >&2\nexit 2\n")
    installer.chmod(0o700)
    monkeypatch.setattr(pinned, "UV", installer)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(Unavailable, match=r"peers-litserve\.txt cannot be installed: no such package"):
        environments.python_of(SERVERS["litserve"])
