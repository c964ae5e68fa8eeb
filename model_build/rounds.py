"""How federated training went, for people: the rows and sentences that `report` and `report_html` show of it.

Apart since both show the same, and only of a federated source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Account = Mapping[str, Any]
HEADING = ("round", "clients", "held-out loss", "held-out accuracy", "of the clients", "seconds", "failed")


def sentence(account: Account) -> str:
    """Where and how the model was trained."""
    where = account["where"]
    place = "on this machine" if where == "simulation" else f"in the federation of {where}, run {account['run']}"
    strategy = {"fedavg": "FedAvg", "fedprox": f"FedProx (mu {account['proximal_mu']})"}[account["strategy"]]
    epochs = f"{account['epochs']} epoch{'s' if account['epochs'] > 1 else ''}"
    count = len(account["rounds"])
    said = (
        f"Trained {place} by Flower {account['flwr']}: {strategy}, {count} round{'s' if count > 1 else ''} of {epochs} "
        "at each client. Scores are those of the averaged model on what each client holds back."
    )
    lost = sum(bool(one["failed"]) for one in account["rounds"])
    return f"{said} {lost} of the rounds went on without some client." if lost else said


def rows(account: Account) -> list[tuple[str, ...]]:
    """A row of each round, as `HEADING` names its cells."""
    return [
        (
            str(one["round"]),
            str(len(one["clients"])),
            f"{one['loss']:.4f}" if "loss" in one else "",
            f"{one['score']:.4f}" if "score" in one else "",
            _range([client["score"] for client in one["clients"] if "score" in client]),
            f"{one['seconds']:.1f}",
            "; ".join(f"{named(failed['client'])}: {_short(failed['why'])}" for failed in one["failed"]),
        )
        for one in account["rounds"]
    ]


def named(client: int | str) -> str:
    """A simulation's clients have numbers, a federation's nodes names."""
    return f"client {client}" if isinstance(client, int) else client


def _range(scores: list[float]) -> str:
    return f"{min(scores):.3f}–{max(scores):.3f}" if scores else ""


def _short(why: str) -> str:
    """In one line."""
    line = " ".join(why.split())
    return line if len(line) <= 160 else f"{line[:159]}…"
