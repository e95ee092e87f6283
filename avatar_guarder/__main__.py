#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""`python -m avatar_guarder FOLDER`."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
