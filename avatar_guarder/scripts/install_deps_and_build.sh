#!/usr/bin/env bash
#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
# Installs the app that manifest.json describes, which is made of
# manifest-tmpl.json, and what its Python packages require. Called as
# `install_deps_and_build.sh OS CPU`, as TEN's guarders are; both are those of
# this machine, and nothing here has to be built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ ! -f manifest.json ]; then
  echo "There is no manifest.json: make it with" >&2
  echo "  sed \"s/{{extension_name}}/\$EXT_NAME/g\" manifest-tmpl.json >" \
    "manifest.json" >&2
  exit 1
fi
tman -y install

python=${PYTHON:-python3}
"$python" -m pip install 'pytest>=8' 'aiohttp>=3.9'
for file in ten_packages/*/*/requirements.txt; do
  if [ -f "$file" ]; then "$python" -m pip install -r "$file"; fi
done
