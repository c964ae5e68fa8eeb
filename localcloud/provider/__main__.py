"""`python -m localcloud.provider`: the plugin's process, started by the engine through `pulumi-resource-aws`."""

import sys

from localcloud.provider.server import main

if __name__ == "__main__":
    sys.exit(main())
