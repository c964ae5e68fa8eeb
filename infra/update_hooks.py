"""What happens around every update of an endpoint, while the engine runs: waiting for alarms, releasing scaling.

Apart from the declarations because it acts on what is live, at the moment of the update.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from infra.alarms import EVALUATED_MINUTES, PERIOD_SECONDS
from infra.live import Account, LiveError

POLL_SECONDS = 1.0
# CloudWatch looks at some minutes more than the alarm asks for; after these, nothing of before is seen.
QUIET_SECONDS = (EVALUATED_MINUTES + 3) * PERIOD_SECONDS


def binding(account: Account) -> pulumi.ResourceHookBinding:
    """Hooks of the endpoints of a stack: before an update, and where one fails."""

    async def await_alarms(args: pulumi.ResourceHookArgs) -> None:
        names = rollback_alarms(args.new_inputs or {})
        if names:
            await until_quiet(account, args.name, names)

    def release_scaling(args: pulumi.ResourceHookArgs) -> None:
        wanted = (args.new_inputs or {}).get("endpointConfigName")
        if wanted:
            _told(account.release_scaling, args.name, wanted)

    def restore_scaling(args: pulumi.ErrorHookArgs) -> bool:
        if args.failed_operation == "update":
            _told(account.restore_scaling, args.name)
        return False

    return pulumi.ResourceHookBinding(
        before_update=[
            pulumi.ResourceHook("await-alarms", await_alarms),
            pulumi.ResourceHook("release-scaling", release_scaling),
        ],
        on_error=[pulumi.ErrorHook("restore-scaling", restore_scaling)],
    )


def rollback_alarms(inputs: Mapping[str, Any]) -> list[str]:
    """Names of the alarms that roll an endpoint's update back, of its inputs."""
    rollback = (inputs.get("deploymentConfig") or {}).get("autoRollbackConfiguration") or {}
    return [alarm["alarmName"] for alarm in rollback.get("alarms", [])]


async def until_quiet(account: Account, endpoint: str, names: list[str]) -> None:
    """Waits while an alarm still rings of the last update, which would roll this one back at once.

    The alarms look at the new configuration by now, which no request has seen. One that rings all the same after some
    minutes is another's business: the update is tried then, with a warning.
    """
    began, told = time.monotonic(), False
    while ringing := await asyncio.to_thread(_told, account.ringing, names):
        said = f"endpoint {endpoint}: {', '.join(ringing)} still in ALARM"
        if time.monotonic() - began > QUIET_SECONDS:
            pulumi.log.warn(f"{said} after {QUIET_SECONDS // 60} minutes; the update may be rolled back for it")
            return
        if not told:
            pulumi.log.info(f"{said}, of what ran before; waiting for it to end")
            told = True
        await asyncio.sleep(POLL_SECONDS)


def _told(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except LiveError as error:
        raise pulumi.RunError(str(error)) from None
