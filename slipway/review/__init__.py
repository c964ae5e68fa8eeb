"""What a change does to models, infrastructure and the bill, beside the branch that it is made for: one comment.

manifests before and after, preview, costs, policies → `Review` → `markdown` → `page` (HTML), `forge` (the comment)
"""
