#!/usr/bin/env bash
# Installs the peers that are commands, where that can be done here, and says what is lacking. What is not there
# is not measured, and listed as such.
set -euo pipefail
cd "$(dirname "$0")"

declare -A package=([tini]=tini [dumb-init]=dumb-init [cgexec]=cgroup-tools [bwrap]=bubblewrap [crun]=crun [runc]=runc)
missing=()
for command in "${!package[@]}"; do
    command -v "$command" >/dev/null || missing+=("${package[$command]}")
done
if ((${#missing[@]})); then
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
    else
        echo "not installed, and so not measured: ${missing[*]}" >&2
    fi
fi

if [[ ! -x target/venv/bin/runexec ]]; then
    python3 -m venv target/venv && target/venv/bin/pip install -q benchexec ||
        echo "not installed, and so not measured: runexec (benchexec from PyPI)" >&2
fi
