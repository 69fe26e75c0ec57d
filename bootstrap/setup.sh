#!/bin/bash
# Makes this machine able to run Bakehouse: packages of the distribution that are missing, a virtual
# environment with hashed requirements, a few Ansible collections, a Docker engine that answers.
# Safe to repeat; says what it does. `setup.sh test` adds what the tests need, `setup.sh disk` what boots
# disks.
set -euo pipefail

readonly purpose="${1:-run}"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly root
readonly venv="$root/.venv"
readonly state="$root/.bakehouse"
readonly needs_something=3

say() { printf 'setup: %s\n' "$*" >&2; }

stop() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    printf '  remedy: %s\n' "$@" >&2
    exit "$needs_something"
}

# --- 1. packages of the distribution -------------------------------------------------------------

is_installed() { dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

missing_packages() {
    # uidmap lets mmdebstrap work for an ordinary user.
    local package wanted=(ca-certificates python3-venv mmdebstrap uidmap iptables packer)
    # A Docker engine of another vendor is as good.
    command -v dockerd >/dev/null || wanted+=(docker.io)
    if [ "$purpose" = test ]; then
        # All but the first make the tests' stand-ins for vendors' repositories.
        wanted+=(shellcheck apt-utils gpg gpg-agent gpgconf rpm createrepo-c gcc libc6-dev)
    fi
    if [ "$purpose" = disk ]; then
        wanted+=(qemu-system-x86 qemu-utils xorriso openssh-client)
    fi
    for package in "${wanted[@]}"; do
        is_installed "$package" || printf '%s ' "$package"
    done
}

install_packages() {
    local missing
    missing="$(missing_packages)"
    if [ -z "$missing" ]; then
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        stop "packages are missing, and only root can install them: $missing" \
            "as root: apt-get update && apt-get install --no-install-recommends $missing"
    fi
    say "[1/4] installing $missing"
    apt-get update --quiet=2
    # The packages start no services: where an engine is needed, step 4 starts it.
    # shellcheck disable=SC2086  # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $missing >/dev/null
}

# --- 2. virtual environment -----------------------------------------------------------------------

python_for_venv() {
    local candidate
    for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    stop "there is no Python 3.11 or newer that can make virtual environments" \
        "as root: apt-get install python3-venv (Debian 12, Ubuntu 24.04 or newer)"
}

make_venv() {
    local files=("$root/requirements/runtime.txt") options=() file stamp python
    if [ "$purpose" = test ] || [ -e "$venv/.test" ]; then
        files+=("$root/requirements/test.txt")
    fi
    for file in "${files[@]}"; do
        options+=(--requirement "$file")
    done
    stamp="$(cat "${files[@]}" "$root/pyproject.toml" | sha256sum | cut -d' ' -f1)"
    if [ -x "$venv/bin/bakehouse" ] && [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        python="$(python_for_venv)"
        say "[2/4] making a virtual environment with $python"
        "$python" -m venv "$venv"
    fi
    say "[2/4] installing the requirements, by their digests"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "${options[@]}" 2>&1 |
        sed '/^WARNING: Location/d' >&2
    # setuptools warns that editable installations are for development, which this one is.
    PYTHONWARNINGS=ignore "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation --no-index --editable "$root"
    if [ "$purpose" = test ]; then
        touch "$venv/.test"
    fi
    printf '%s' "$stamp" >"$venv/.stamp"
}

# --- 3. Ansible collections -----------------------------------------------------------------------

unpack_collections() {
    local stamp folder
    stamp="$(sha256sum "$root/requirements/collections.txt" | cut -d' ' -f1)"
    if [ "$(cat "$state/collections/.stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    say "[3/4] unpacking the Ansible collections"
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' RETURN
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
        --dest "$folder" --requirement "$root/requirements/collections.txt" 2>&1 |
        sed '/^WARNING: Location/d' >&2
    "$venv/bin/python" "$root/bootstrap/unpack_collections.py" "$folder" "$state/collections"
    printf '%s' "$stamp" >"$state/collections/.stamp"
}

# --- 4. Docker engine -----------------------------------------------------------------------------

engine_answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

start_engine() {
    local _
    if engine_answers; then
        return
    fi
    if [ -n "${DOCKER_HOST:-}" ]; then
        stop "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST" "start that engine, or unset DOCKER_HOST"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
            stop "this user may not use the Docker engine" \
                "as root: usermod --append --groups docker $(id -un); then log in again"
        fi
        stop "no Docker engine answers, and only root can start one" "as root: systemctl start docker"
    fi
    if grep -qsx dockerd /proc/[0-9]*/comm; then
        stop "a Docker engine is running but does not answer; a second one would break it" \
            "look at it: docker info; journalctl --unit docker"
    fi
    say "[4/4] starting the Docker engine"
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        mkdir -p "$state"
        # Left over from an engine that was killed; none runs now.
        rm -f /var/run/docker.pid
        setsid dockerd >"$state/dockerd.log" 2>&1 </dev/null &
    fi
    for _ in $(seq 60); do
        if engine_answers; then
            return
        fi
        sleep 0.5
    done
    stop "the Docker engine did not start within 30 s" "read $state/dockerd.log"
}

# --- 5. disk ---------------------------------------------------------------------------------------

# Images and layers take about half of it (`docker system df`); the rest is for what tests make.
readonly wanted_gb=20

warn_of_a_full_disk() {
    local folder free_kb
    folder="$(docker info --format '{{.DockerRootDir}}')"
    # Another user's folder, or another machine's engine.
    free_kb="$(df --output=avail "$folder" 2>/dev/null | tail -n 1)" || return 0
    if [ "$((free_kb / 1000000))" -lt "$wanted_gb" ]; then
        say "warning: $((free_kb / 1000000)) GB are free where the Docker engine keeps images ($folder); $wanted_gb GB are enough"
        say "  remedy: remove what you do not need: docker image rm, docker builder prune"
    fi
}

install_packages
make_venv
unpack_collections
start_engine
warn_of_a_full_disk
say "ready"
