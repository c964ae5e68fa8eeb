"""The `aws` resource provider of the local stack: the real `pulumi_aws` SDK's resources on a loopback endpoint.

It is apart from the emulator because it is a program of its own, started by the Pulumi engine as a plugin, and
because it knows AWS only through its public API: it would work the same against any AWS-like endpoint.
"""

NAME = "aws"
VERSION = "0.0.1"
