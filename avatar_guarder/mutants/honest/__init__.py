#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""The least that keeps every rule; its vendor is vendors/toy.py."""

from . import addon as addon
