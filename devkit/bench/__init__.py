"""How much the extension costs beside the bare SDK: `bin/bench`."""

import os

from devkit import package

# Read by the stand-in when it is imported.
os.environ.setdefault("TEN_STAND_IN_LOG", "error")
# Before any module here is imported: they use both.
package.use_ten_runtime()
package.load()
