#!/bin/sh
# Applies one role to the container it runs in. Mounted at /mnt with the role, its variables and a
# play; Ansible is mounted at /media. Nothing of either stays in the layer: whatever is written goes
# to /tmp, which is a tmpfs here.
set -eu
host=/tmp/bakehouse/host
export HOME=/tmp/bakehouse/home
mkdir -p "$HOME"
export PYTHONDONTWRITEBYTECODE=1
export DEBIAN_FRONTEND=noninteractive
export ANSIBLE_HOME=/tmp/bakehouse/ansible ANSIBLE_REMOTE_TEMP=/tmp/bakehouse/remote
export ANSIBLE_ROLES_PATH=/mnt/roles ANSIBLE_INJECT_FACT_VARS=false
# 60 tasks take 3.4 s with mitogen and 16.6 s without.
export ANSIBLE_STRATEGY_PLUGINS=/media/ansible_mitogen/plugins/strategy ANSIBLE_STRATEGY=mitogen_linear
export ANSIBLE_DEPRECATION_WARNINGS=false ANSIBLE_LOCALHOST_WARNING=false
# Skipped tasks are shown: without them Ansible names a task only when it has ended, and times shift.
export ANSIBLE_NOCOLOR=true ANSIBLE_RETRY_FILES_ENABLED=false

# A cache between the layers of a build; after an hour everything is asked anew.
export ANSIBLE_CACHE_PLUGIN=jsonfile ANSIBLE_CACHE_PLUGIN_TIMEOUT=3600
export ANSIBLE_CACHE_PLUGIN_CONNECTION=/tmp/bakehouse/facts

# What the host knows about its network; each file is there only if the host has it.
if [ -s "$host/apt.conf" ]; then export APT_CONFIG="$host/apt.conf"; fi
if [ -s "$host/pip.conf" ]; then export PIP_CONFIG_FILE="$host/pip.conf"; fi
if [ -s "$host/ca.pem" ]; then
    export PIP_CERT="$host/ca.pem" SSL_CERT_FILE="$host/ca.pem"
    export REQUESTS_CA_BUNDLE="$host/ca.pem" CURL_CA_BUNDLE="$host/ca.pem"
fi
set --
if [ -s "$host/mirrors.json" ]; then set -- --extra-vars "@$host/mirrors.json"; fi

# A bundle: apt has folders of its own then, and where there is no network the bundle answers here.
lists=/var/lib/apt/lists
if grep -qs /tmp/bakehouse/apt "$host/apt.conf"; then
    lists=/tmp/bakehouse/apt/lists
    mkdir -p "$lists/partial" /tmp/bakehouse/apt/cache/archives/partial
fi
if [ -e /tmp/bakehouse/mirror/server.py ]; then python3 /tmp/bakehouse/mirror/server.py; fi

# The folder of package lists is a cache that starts empty but new; apt's own rule would call it fresh.
if [ -d /var/lib/apt/lists ] && ! ls "$lists"/*Release >/dev/null 2>&1; then
    touch --date=@0 /var/lib/apt/lists
fi
cd /tmp
# Only this process finds Ansible: in PYTHONPATH, programs that the role starts would find its
# libraries too, and pip would take those that the image needs for installed.
# Mitogen keeps whatever a task starts off the first processor, which is half of a small machine.
run='import runpy, sys; sys.path.insert(0, "/media")
import ansible_mitogen.affinity; ansible_mitogen.affinity.policy = ansible_mitogen.affinity.Policy()
runpy.run_module("ansible.cli.playbook", run_name="__main__", alter_sys=True)'
exec python3 -c "$run" \
    --inventory localhost, --connection local \
    --extra-vars ansible_python_interpreter=/usr/bin/python3 \
    --extra-vars @/mnt/variables.json "$@" \
    /mnt/play.yml
