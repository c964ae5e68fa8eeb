"""The same comment as one self-contained HTML page."""

from __future__ import annotations

from markdown_it import MarkdownIt

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border: 1px solid #8886; padding: .3rem .7rem; text-align: left }
td { font-variant-numeric: tabular-nums }
code { background: #8882; padding: .1em .3em; border-radius: 3px }
pre { background: #8882; padding: .8rem; overflow-x: auto }
pre code { background: none; padding: 0 }
details { border: 1px solid #8886; border-radius: 4px; margin: .6rem 0; padding: .4rem .8rem }
summary { cursor: pointer; font-weight: 600 }
"""


def html(markdown: str, title: str) -> str:
    """`markdown` is `comment.markdown`'s, whose own HTML (folds) is kept; what others wrote in it is escaped there."""
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>\n{body}</body></html>\n"
    )
