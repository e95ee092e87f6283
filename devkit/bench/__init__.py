"""How much the extension costs beside the bare SDK: `bin/bench`."""

from devkit import package

# Before any module here is imported: they use both.
package.use_ten_runtime()
package.load()
