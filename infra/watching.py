"""Who is told: the stack's alarm topic, and its monthly budget."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import policies

# Of the month's limit, in percent: what was spent, and what AWS forecasts.
WARN_PERCENT = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))


@dataclass(frozen=True)
class AlarmTopicArgs:
    stack: str
    account: pulumi.Input[str]
    key: pulumi.Input[str] | None


class AlarmTopic(pulumi.ComponentResource):
    """A topic that CloudWatch's alarms and AWS Budgets of this account may publish to; subscribe to it by hand."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: AlarmTopicArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("slipway:infra:AlarmTopic", name, None, opts)
        stem = f"{name}-{args.stack}-alarms"
        # SNS's own key lets no alarm in; without a key of the stack's the topic has none.
        topic = aws.sns.Topic(stem, kms_master_key_id=args.key, opts=pulumi.ResourceOptions(parent=self))
        aws.sns.TopicPolicy(
            stem,
            arn=topic.arn,
            policy=pulumi.Output.all(arn=topic.arn, account=args.account).apply(
                lambda known: json.dumps(policies.alarm_topic(known["arn"], known["account"]))
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = topic.arn
        self.register_outputs({"arn": self.arn})


@dataclass(frozen=True)
class MonthlyBudgetArgs:
    stack: str
    usd: float
    emails: tuple[str, ...]
    topic: pulumi.Input[str] | None


class MonthlyBudget(pulumi.ComponentResource):
    """Warns before the month's bill does. It counts what carries the stack's tag, once Billing activated that tag."""

    def __init__(self, name: str, args: MonthlyBudgetArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("slipway:infra:MonthlyBudget", name, None, opts)
        aws.budgets.Budget(
            f"{name}-{args.stack}",
            name=f"{name}-{args.stack}",
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=f"{args.usd:g}",
            limit_unit="USD",
            cost_filters=[{"name": "TagKeyValue", "values": [f"user:slipway:stack${args.stack}"]}],
            notifications=[
                {
                    "comparison_operator": "GREATER_THAN",
                    "notification_type": kind,
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_email_addresses": list(args.emails),
                    "subscriber_sns_topic_arns": [args.topic] if args.topic is not None else [],
                }
                for kind, percent in WARN_PERCENT
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
