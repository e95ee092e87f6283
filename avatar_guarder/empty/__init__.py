#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""An extension that does nothing: the measure of a runtime's own log."""

from . import addon as addon
