"""Where the `slipway` command begins: a no-op is answered before anything else is imported."""

from __future__ import annotations

import sys


def main() -> None:
    from slipway import fastpath

    try:
        code = fastpath.run(sys.argv[1:])
    except BrokenPipeError:  # whoever reads the output has seen enough
        sys.stdout = None  # or the interpreter tries again as it ends
        code = 0
    if code is None:
        from slipway.cli import main as long_way

        long_way()
    sys.exit(code)


if __name__ == "__main__":
    main()
