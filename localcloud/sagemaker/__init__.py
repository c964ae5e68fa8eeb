"""SageMaker hosting on this machine: the control plane, endpoints that run real replicas, and their invocation."""
