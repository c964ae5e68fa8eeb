"""Distils the committed student: `python -m examples.fashion.student`, a quarter of an hour on one core.

What the build's `distill` pass does, but on all training images, moved and mirrored, which are too many to commit and
take too long for a build. The student learns the model's softened answers; 5,000 images are held out to judge by.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from examples import training
from examples.fashion import data, model
from examples.fashion.train import augmented, normalise

EPOCHS = 80
BATCH = 256
PEAK_RATE = 0.006
TEMPERATURE = 2.0
ALPHA = 0.9  # Of the teacher; the labels have the rest.
VALIDATION = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    arguments = parser.parse_args()
    training.start()
    torch.set_num_threads(1)  # Layers this small gain little from a second, which often waits for the first.
    images, labels = data.read(arguments.data, "train")
    pixels, truth = normalise(images), torch.from_numpy(labels)
    order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(training.SEED))
    held_out, used = order[:VALIDATION], order[VALIDATION:]
    teacher = model.build()
    teacher.load_state_dict(load_file(data.HERE / "weights.safetensors"))
    student = distil(teacher, pixels[used], truth[used])
    save_file(student.state_dict(), data.HERE / "student.safetensors")
    training.record(
        data.HERE,
        file="student.json",
        score=training.accuracy(student, (pixels[held_out],), truth[held_out]),
        samples=VALIDATION,
        epochs=EPOCHS,
        judged_on="held-out training images",
    )


def distil(teacher: nn.Module, pixels: Tensor, labels: Tensor) -> nn.Module:
    # Half precision for what is only multiplied: half the time on CPUs that have it, and the answers stay.
    teacher = teacher.eval().to(torch.bfloat16).to(memory_format=torch.channels_last)
    student = model.build_student().to(memory_format=torch.channels_last)

    def loss(chosen: Tensor) -> Tensor:
        batch = augmented(pixels[chosen])
        with torch.no_grad():
            wanted = teacher(batch.bfloat16()).float()
        with torch.autocast("cpu", torch.bfloat16):
            given = student(batch)
        return loss_of(given.float(), wanted, labels[chosen])

    training.fit(student, len(labels), loss, epochs=EPOCHS, batch=BATCH, peak_rate=PEAK_RATE)
    return student.to(memory_format=torch.contiguous_format)


def loss_of(given: Tensor, wanted: Tensor, labels: Tensor) -> Tensor:
    """Divergence of the softened answers, and cross-entropy with the labels."""
    says, should = (functional.log_softmax(logits / TEMPERATURE, 1) for logits in (given, wanted))
    divergence = TEMPERATURE**2 * functional.kl_div(says, should, reduction="batchmean", log_target=True)
    return ALPHA * divergence + (1 - ALPHA) * functional.cross_entropy(given, labels)


if __name__ == "__main__":
    main()
