"""The program inside an endpoint: loads an artifact, decodes requests, predicts, encodes answers.

It imports nothing of the project, because a copy of it travels in every `model.tar.gz` (Python 3.10+ there).
"""
