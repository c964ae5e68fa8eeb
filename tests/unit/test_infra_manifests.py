import json

import pytest
from built_models import write_model

from infra.manifests import find_models
from infra.settings import Settings
from model_build.manifest import GateResult


@pytest.fixture
def found(tmp_path):
    """Runs the search on a stack: (names of models, problems)."""

    def search(stack="dev", **settings):
        problems = []
        settings = {"region": "us-east-1", **settings}
        models = find_models(Settings(stack=stack, root=tmp_path, **settings), problems)
        return models, problems

    return search


def names(models):
    return [model.name for model in models]


def test_every_built_model_is_found_in_order(tmp_path, found):
    for name in ("speech", "news", "fashion"):
        write_model(tmp_path, name)
    models, problems = found()
    assert (names(models), problems) == (["fashion", "news", "speech"], [])


def test_a_model_carries_its_artifact_its_image_and_the_settings_of_the_stack(tmp_path, found):
    manifest = write_model(
        tmp_path,
        "news",
        deploy={"image": "slim:1", "instance": "ml.c7i.large"},
        environments={"dev": {"image": "slim:1", "instance": "ml.c7i.xlarge"}},
    )
    (model,), _ = found(region="cn-north-1")
    assert model.artifact == tmp_path / "build/news/model.tar.gz"
    assert model.digest == manifest.artifact.sha256
    assert model.deploy.instance == "ml.c7i.xlarge"
    assert model.image_uri == "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/slim:1"
    (base,), _ = found(stack="staging")
    assert base.deploy.instance == "ml.c7i.large"


def test_a_spec_without_a_manifest_is_not_built(tmp_path, found):
    write_model(tmp_path, "news")
    (tmp_path / "build/news/manifest.json").unlink()
    assert found() == ([], ["specs/news.yaml: not built; run: slipway build news"])


def test_a_manifest_whose_spec_was_deleted_says_how_to_take_the_endpoint_down(tmp_path, found):
    write_model(tmp_path, "news")
    (tmp_path / "specs/news.yaml").unlink()
    models, (problem,) = found()
    assert models == []
    assert problem == ("build/news: its spec specs/news.yaml is gone; to take the endpoint down, run: rm -r build/news")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("specs/news.yaml", "name: news\ntask: x\n", "specs/news.yaml: changed since news was built"),
        ("build/news/model.tar.gz", "something else", "is not the artifact that was built"),
        ("build/news/manifest.json", "{}", "not a manifest of this version"),
        ("build/news/manifest.json", "{", "not a manifest of this version"),
    ],
)
def test_what_changed_after_the_build_is_named_with_the_command_that_mends_it(tmp_path, found, file, content, said):
    write_model(tmp_path, "news")
    (tmp_path / file).write_text(content)
    models, (problem,) = found()
    assert models == []
    assert said in problem
    assert problem.endswith("run: slipway build news")


def test_a_manifest_that_was_edited_by_hand_is_refused(tmp_path, found):
    write_model(tmp_path, "news")
    path = tmp_path / "build/news/manifest.json"
    content = json.loads(path.read_text())
    content["deploy"]["instance"] = "ml.p5.48xlarge"
    path.write_text(json.dumps(content))
    models, (problem,) = found()
    assert models == []
    assert "its digest does not match" in problem


def test_problems_of_all_models_come_at_once(tmp_path, found):
    for name in ("stale", "missing", "orphan", "good"):
        write_model(tmp_path, name)
    (tmp_path / "specs/stale.yaml").write_text("changed: true\n")
    (tmp_path / "build/missing/model.tar.gz").unlink()
    (tmp_path / "specs/orphan.yaml").unlink()
    models, problems = found()
    assert names(models) == ["good"]
    assert len(problems) == 3


def test_a_list_of_models_leaves_the_others_out_with_their_problems(tmp_path, found):
    write_model(tmp_path, "news")
    write_model(tmp_path, "stale")
    (tmp_path / "specs/stale.yaml").write_text("changed: true\n")
    models, problems = found(models=("news",))
    assert (names(models), problems) == (["news"], [])


def test_a_listed_model_that_does_not_exist_is_named_beside_those_that_do(tmp_path, found):
    write_model(tmp_path, "news")
    _, (problem,) = found(models=("news", "nwes"))
    assert "there is no model 'nwes'; known: news" in problem


def test_production_with_one_instance_names_the_key_to_mend(tmp_path, found):
    write_model(tmp_path, "news")
    models, (problem,) = found(stack="prod")
    assert models == []
    assert "specs/news.yaml: environments.prod.deploy.instances" in problem
    assert found(stack="dev")[1] == []


def test_production_with_two_instances_is_fine(tmp_path, found):
    write_model(tmp_path, "news", environments={"prod": {"instances": {"min": 2, "max": 12}}})
    models, problems = found(stack="prod")
    assert (names(models), problems) == (["news"], [])


def test_an_image_that_sagemaker_cannot_pull_names_the_key_to_mend(tmp_path, found):
    write_model(tmp_path, "news", environments={"dev": {"image": "quay.io/slim:1"}})
    models, (problem,) = found()
    assert models == []
    assert problem.startswith("specs/news.yaml: environments.dev.deploy.image: 'quay.io/slim:1'")


def test_the_cache_of_builds_is_no_model(tmp_path, found):
    write_model(tmp_path, "news")
    (tmp_path / "build/.cache").mkdir()
    (tmp_path / "build/.cache/manifest.json").write_text("{}")
    models, problems = found()
    assert (names(models), problems) == (["news"], [])


def test_another_folder_of_builds_is_read_when_the_stack_names_it(tmp_path, found):
    write_model(tmp_path, "news", build="out/release")
    models, problems = found(build="out/release")
    assert (names(models), problems) == (["news"], [])


def test_a_project_without_models_is_an_empty_stack(found):
    assert found() == ([], [])


def test_an_artifact_that_missed_a_gate_is_never_promoted(tmp_path, found):
    manifest = write_model(tmp_path, "news")
    gate = GateResult(gate="accuracy.max_drop", limit=0.01, measured=0.2, passed=False)
    missed = manifest.model_copy(update={"gates": (gate,)}).sealed()
    (tmp_path / "build/news/manifest.json").write_text(missed.to_json())
    models, (problem,) = found()
    assert models == []
    assert "build/news: missed gates (accuracy.max_drop)" in problem
    assert "slipway build news" in problem


def test_a_pull_requests_stack_hosts_the_model_as_small_as_can_be(tmp_path, found):
    write_model(
        tmp_path,
        "news",
        deploy={
            "instance": "ml.c7i.4xlarge",
            "instances": {"min": 3, "max": 9},
            "rollout": "canary",
            "autoscaling": {"target": 100, "schedule": [{"cron": "0 8 ? * MON-FRI *", "min": 2}]},
        },
    )
    ((model,), problems) = found("pr-3")
    assert problems == []
    assert model.deploy.instance == "ml.c7i.large"
    assert (model.deploy.instances.min, model.deploy.instances.max) == (1, 1)
    assert model.deploy.rollout is None
    assert model.deploy.autoscaling.schedule == ()
