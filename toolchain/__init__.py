"""Finds, installs or builds the Pulumi engine. README.md says which one is used when."""
