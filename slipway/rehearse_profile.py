"""A traffic profile: the YAML of `slipway rehearse --traffic`, in its shape, or all that is wrong with it at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError, model_validator

from localcloud.traffic.arrivals import DAY_SECONDS, Curve
from localcloud.traffic.arrivals import Phase as Part
from model_build.deployment import FORMS, Frozen, form, seconds
from model_build.errors import SpecError, UserError
from model_build.explain import explained, validate
from model_build.loading import written
from model_build.yaml_tree import MAX_BYTES, parse

EXAMPLE = """\
# What `slipway rehearse NAME` replays where you give no --traffic. All times are on the clock, which runs `speed`
# times as fast as the wall's; requests are real ones, and their rates hold for a second of the wall.
speed: 60

# Requests a second: a number, or a share of what one replica is meant to carry, which is the target of the endpoint's
# scaling policy, or half of the capacity where it has none.
phases:
  - {kind: steady, duration: 5m, rate: 60%}
  - {kind: step, duration: 20m, rate: 60%, to: 200%, at: 2m}
  - {kind: spike, duration: 10m, rate: 60%, to: 250%, at: 3m, width: 2m}
# - {kind: daily, duration: 24h, rate: 10%, to: 150%, at: 14h}    between both, highest at 14 h
arrivals: poisson                # or: even
seed: 1

# Requests a second that one replica can answer; measured on a replica where it is left out.
# capacity: 80

# When the new version is rolled out, with the endpoint's own deployment policy.
rollout_at: 4m

# Each makes the rehearsal exit 1 where it is missed. The last two are for --bad, the others for a good version.
gates:
  max_error_percent: 0
  must_complete: true            # the new version is in service in the end
  # p50_ms: 20
  # p95_ms: 50
  # p99_ms: 100
  # max_replica_ratio: 2         # replica-seconds to those of the fewest replicas that hold the traffic
  must_roll_back: true           # the bad version is not
  # max_bad_error_percent: 10    # of all requests, until the bad version was gone
"""


def _share(text: str) -> str:
    number = text.removesuffix("%")
    if not text.endswith("%") or not number.replace(".", "", 1).isdecimal():
        raise ValueError(f"'{text}' is neither a number of requests a second nor a percentage such as 50%")
    return text


def _duration(text: str) -> str:
    if not (text[:-1].isdecimal() and text[-1:] in ("s", "m", "h") and len(text) <= 6):
        raise ValueError(f"'{text}' is not a time such as 90s, 10m or 24h")
    return text


def _some(text: str) -> str:
    if seconds(_duration(text)) == 0:
        raise ValueError("must be longer than nothing")
    return text


if TYPE_CHECKING:
    Rate = str | float
else:
    Rate = Annotated[
        Annotated[str, AfterValidator(_share), Tag(FORMS[0])] | Annotated[float, Field(ge=0), Tag(FORMS[1])],
        Discriminator(form),
    ]
Moment = Annotated[str, AfterValidator(_duration)]
Duration = Annotated[str, AfterValidator(_some)]

# What each kind has beside kind, duration and rate.
_KEYS = {"steady": set(), "step": {"to", "at"}, "spike": {"to", "at", "width"}, "daily": {"to", "at"}}


class Phase(Frozen):
    kind: Literal["steady", "step", "spike", "daily"]
    duration: Duration
    rate: Rate
    to: Rate | None = None
    at: Moment | None = None
    width: Duration | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        given = {name for name in ("to", "at", "width") if getattr(self, name) is not None}
        wanted = _KEYS[self.kind]
        if given != wanted:
            needs = f"needs {' and '.join(sorted(wanted))}" if wanted else "has kind, duration and rate alone"
            raise ValueError(f"a phase of kind {self.kind} {needs}; it has {', '.join(sorted(given)) or 'neither'}")
        whole = DAY_SECONDS if self.kind == "daily" else seconds(self.duration)
        if self.at is not None and seconds(self.at) > whole:
            raise ValueError(f"at ({self.at}) is past the end of {'the day' if self.kind == 'daily' else 'the phase'}")
        return self


class Gates(Frozen):
    max_errors: int | None = Field(None, ge=0)
    max_error_percent: float | None = Field(None, ge=0, le=100)
    p50_ms: float | None = Field(None, gt=0)
    p95_ms: float | None = Field(None, gt=0)
    p99_ms: float | None = Field(None, gt=0)
    max_replica_ratio: float | None = Field(None, ge=1)
    must_complete: bool = True
    must_roll_back: bool = True
    max_bad_error_percent: float | None = Field(None, ge=0, le=100)


class Profile(Frozen):
    phases: tuple[Phase, ...] = Field(min_length=1)
    speed: float = Field(60, ge=1, le=1000)
    arrivals: Literal["poisson", "even"] = "poisson"
    seed: int = Field(1, ge=0)
    capacity: float | None = Field(None, gt=0)
    rollout_at: Moment = "0s"
    gates: Gates = Field(default_factory=Gates)

    @model_validator(mode="after")
    def _within(self) -> Self:
        whole = sum(seconds(phase.duration) for phase in self.phases)
        if seconds(self.rollout_at) >= whole:
            raise ValueError(f"rollout_at ({self.rollout_at}) is past the end of all phases ({whole:g} s)")
        return self

    def curve(self, replica: float) -> Curve:
        """The traffic in requests a second, where one replica is meant to carry `replica` of them."""

        def absolute(rate: str | float | None) -> float:
            if isinstance(rate, str):
                return float(rate.removesuffix("%")) / 100 * replica
            return float(rate or 0.0)

        return Curve(
            [
                Part(
                    phase.kind,
                    seconds(phase.duration),
                    absolute(phase.rate),
                    absolute(phase.to),
                    seconds(phase.at or "0s"),
                    seconds(phase.width or "0s"),
                )
                for phase in self.phases
            ]
        )

    @property
    def relative(self) -> bool:
        return any(isinstance(rate, str) for phase in self.phases for rate in (phase.rate, phase.to))


def load(path: Path) -> Profile:
    """The profile of a file. Raises SpecError with every problem, UserError where it cannot be read."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror}", "write one: slipway rehearse --example > profile.yaml"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: is larger than {MAX_BYTES:,} bytes")
    return read(text, str(path))


def read(text: str, name: str) -> Profile:
    """The profile of a text. Raises SpecError with every problem, each with line and key."""
    if not text.strip():
        raise SpecError([f"{name}:1: the file is empty; slipway rehearse --example shows a profile"])
    tree, faults = parse(text)
    problems = {(fault.line, written(fault.key), fault.message) for fault in faults}
    profile = None
    if tree is not None:
        try:
            profile = validate(Profile, tree.value)
        except ValidationError as error:
            problems |= {(tree.line_of(key), written(key), said) for key, said in explained(error, Profile)}
    if profile is None or problems:
        raise SpecError([f"{name}:{line}: {f'{key}: ' if key else ''}{said}" for line, key, said in sorted(problems)])
    return profile


def default() -> Profile:
    return read(EXAMPLE, "the built-in profile")


def shown(profile: Profile) -> dict[str, Any]:
    """As JSON has it."""
    return profile.model_dump(mode="json", exclude_none=True)
