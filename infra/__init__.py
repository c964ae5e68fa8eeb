"""The Pulumi program: manifests of built models → AWS resources. It never opens a spec."""
