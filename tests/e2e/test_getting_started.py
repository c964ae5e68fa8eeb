"""docs/getting-started.md, followed to the letter: its commands in one shell, in their order, in a fresh clone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from newcomer import Checkout

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

PAGE = Path(__file__).parents[2] / "docs/getting-started.md"
BLOCK = re.compile(r"(?:<!-- exits (\d+) -->\n)?```sh\n(.*?)```", re.S)


def _script() -> str:
    """The page's commands; what each block says comes after a line `=== N`, and its last command exits as it should."""
    lines = []
    for number, (code, commands) in enumerate(BLOCK.findall(PAGE.read_text("utf-8"))):
        # `echo` alone first, as an answer of curl ends without a new line.
        lines += ["echo", f"echo '=== {number}'", "set +e" if code else "set -e", commands]
        lines += [f'[ "$?" -eq {code} ] || exit 99'] if code else []
    return "\n".join(lines)


def test_every_command_of_the_page_does_what_it_says(checkout: Checkout) -> None:
    done = checkout.run("bash", "-c", f"exec 2>&1\n{_script()}")
    said = dict(re.findall(r"^=== (\d+)\n(.*?)(?=^=== |\Z)", done.stdout, re.S | re.M))
    up, asked, curl, looked, changed, refused, _, own, plain, away = (said[str(number)] for number in range(10))
    for model in ("announcers-local", "fashion-local", "news-topics-local"):
        assert model in up
        assert re.search(rf"{model}\s+InService", looked), looked
    assert asked.index("sports") < asked.index("Ankle boot") < asked.index("allison"), asked
    assert "business" in curl
    # Another candidate was chosen, from what was measured already, and rolled out.
    assert re.search(r"^fashion: (?!distill)", changed, re.M), changed
    assert "measure" not in changed.partition("Pulumi engine")[0], changed
    assert re.search(r"sagemaker:Endpoint fashion-local\s+updated", changed), changed
    assert "accuracy" in refused and "0.99" in refused, refused
    assert '"logits"' in own, own
    assert "fashion-local" in plain, plain
    assert "wines-local" in away, away
    assert checkout.replicas() == []
