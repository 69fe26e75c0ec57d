#!/bin/sh
# Applies one role to the container it runs in. Mounted at /mnt with the role, its variables and a
# play; Ansible is mounted at /media. Nothing of either stays in the layer: whatever is written goes
# to /tmp, which is a tmpfs here.
set -eu
export HOME=/tmp/bakehouse/home
mkdir -p "$HOME"
export PYTHONDONTWRITEBYTECODE=1
export DEBIAN_FRONTEND=noninteractive
export ANSIBLE_HOME=/tmp/bakehouse/ansible ANSIBLE_REMOTE_TEMP=/tmp/bakehouse/remote
export ANSIBLE_ROLES_PATH=/mnt/roles ANSIBLE_INJECT_FACT_VARS=false
export ANSIBLE_STRATEGY_PLUGINS=/media/ansible_mitogen/plugins/strategy
export ANSIBLE_STRATEGY="${BAKEHOUSE_STRATEGY:-mitogen_linear}"
export ANSIBLE_DEPRECATION_WARNINGS=false ANSIBLE_LOCALHOST_WARNING=false
export ANSIBLE_DISPLAY_SKIPPED_HOSTS=false ANSIBLE_NOCOLOR=true ANSIBLE_RETRY_FILES_ENABLED=false
if [ -s /tmp/bakehouse/apt.conf ]; then
    export APT_CONFIG=/tmp/bakehouse/apt.conf
fi
# The folder of package lists is a cache that starts empty but new; apt's own rule would call it fresh.
if [ -d /var/lib/apt/lists ] && ! ls /var/lib/apt/lists/*Release >/dev/null 2>&1; then
    touch --date=@0 /var/lib/apt/lists
fi
cd /tmp
# Only this process finds Ansible: in PYTHONPATH, programs that the role starts would find its
# libraries too, and pip would take those that the image needs for installed.
run='import runpy, sys; sys.path.insert(0, "/media"); runpy.run_module("ansible.cli.playbook", run_name="__main__", alter_sys=True)'
exec python3 -c "$run" \
    --inventory localhost, --connection local \
    --extra-vars ansible_python_interpreter=/usr/bin/python3 \
    --extra-vars @/mnt/variables.json \
    /mnt/play.yml
