"""What the servers run: one application each, in an environment of its own, around the same `lean.Model`.

A server is started with this folder on PYTHONPATH, so that these modules import `lean` and nothing of the project.
"""
