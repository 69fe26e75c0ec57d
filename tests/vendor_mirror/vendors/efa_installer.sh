#!/bin/bash
# Stands in for AWS's installer: its options, the files that it leaves, and what it refuses. What it
# installs are packages that say +fixture. AWS describes the options in
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-start.html
set -u

RECORD=/opt/amazon/efa_installed_packages

stop() {
    echo "$1" >&2
    exit 1
}

[ -e env.sh ] || stop "Please cd into the installer directory."
# shellcheck source=/dev/null
. ./env.sh
[ "$(id -u)" -eq 0 ] || stop "Please run this script as root."

minimal=no skip_kmod=no skip_limits=no uninstall=no unattended=no mpi=both
given=$(getopt -o dnuylkmg --long debug-packages,no-verify,uninstall,yes,skip-limit-conf \
    --long skip-kmod,minimal,enable-gdr,mpi:,disable-ngc,check-signatures -- "$@") || exit 1
eval set -- "$given"
while [ "$1" != -- ]; do
    case "$1" in
    -m | --minimal) minimal=yes ;;
    -k | --skip-kmod) skip_kmod=yes ;;
    -l | --skip-limit-conf) skip_limits=yes ;;
    -u | --uninstall) uninstall=yes ;;
    -y | --yes) unattended=yes ;;
    --mpi)
        mpi=$2
        shift
        ;;
    esac
    shift
done
case "$mpi" in both | openmpi4 | openmpi5) ;; *) stop "Error: unknown MPI: $mpi" ;; esac

# shellcheck source=/dev/null
. /etc/os-release
case "$ID$VERSION_ID" in
amzn2023) base=RPMS/ALINUX2023 type=rpm ;;
ubuntu22.04) base=DEBS/UBUNTU2204 type=deb ;;
ubuntu24.04) base=DEBS/UBUNTU2404 type=deb ;;
debian12) base=DEBS/DEBIAN12 type=deb ;;
*) stop "Unsupported operating system." ;;
esac
base=$base/$(uname -m)

installed_version() { # of a package; nothing where it is not installed
    if [ "$type" = rpm ]; then
        rpm -q --quiet "$1" && rpm -q --qf '%{VERSION}-%{RELEASE}' "$1"
    else
        # shellcheck disable=SC2016
        dpkg-query -W -f '${db:Status-Abbrev}${Version}' "$1" 2>/dev/null | sed -n 's/^ii *//p'
    fi
}

kernels() {
    if [ "$type" = rpm ]; then
        rpm -qa kernel
    else
        # shellcheck disable=SC2016
        dpkg-query -W -f '${Package}\n' 'linux-image-[0-9]*' 2>/dev/null
    fi
}

name_of() { # of a package's file
    if [ "$type" = rpm ]; then rpm -qp --nosignature --qf '%{NAME}' "$1"; else dpkg-deb -f "$1" Package; fi
}

version_of() {
    if [ "$type" = rpm ]; then
        rpm -qp --nosignature --qf '%{VERSION}-%{RELEASE}' "$1"
    else
        dpkg-deb -f "$1" Version
    fi
}

newer() { # whether the first is the newer version
    [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]
}

if [ "$skip_kmod" = no ] && [ "$uninstall" = no ] && [ -z "$(kernels)" ]; then
    stop "Error: unable to detect installed kernels, exiting."
fi
[ "$unattended" = yes ] || stop "Nobody is here to answer whether to install."

if [ "$uninstall" = yes ]; then
    [ -f "$RECORD" ] || stop "Error: EFA is not installed, exiting."
    if [ "$type" = rpm ]; then
        grep -v '^#' "$RECORD" | tr ' ' '\n' | xargs -r rpm -e --nodeps || exit 1
    else
        grep -v '^#' "$RECORD" | tr ' ' '\n' | cut -d_ -f1 | xargs -r dpkg --purge --force-depends || exit 1
    fi
    rm -f "$RECORD"
    exit 0
fi

# ParallelCluster removes these before it installs EFA; here they are refused, so that a role that
# forgets them is noticed: https://github.com/aws/aws-parallelcluster-cookbook/pull/322
for inbox in openmpi openmpi-bin libfabric libfabric1; do
    [ -z "$(installed_version "$inbox")" ] || stop "Error: failed to install EFA packages: $inbox is in the way, exiting"
done

names=() files=()
for file in "$base"/*."$type" "$base"/rdma-core/*."$type" "$base"/efa-driver/*."$type"; do
    grep -Fxq "$file" package_list.txt || stop "Error: unknown package found: $file"
    name=$(name_of "$file")
    [ "$skip_kmod" = yes ] && case "$name" in efa | efa-nv-peermem) continue ;; esac
    [ "$skip_limits" = yes ] && [ "$name" = efa-config ] && continue
    [ "$mpi" = openmpi4 ] && [ "$name" = openmpi50-aws ] && continue
    [ "$mpi" = openmpi5 ] && [ "$name" = openmpi40-aws ] && continue
    if [ "$minimal" = yes ]; then
        case "$name" in libfabric* | openmpi* | libnccl-ofi | efa-profile)
            echo "skipping $name because of minimal installation"
            continue
            ;;
        esac
    fi
    names+=("$(basename "$file" ".$type")")
    # As AWS's: an older package is passed over where a newer one is installed, without a word.
    newer "$(installed_version "$name")" "$(version_of "$file")" || files+=("$PWD/$file")
done

if [ "$type" = rpm ]; then
    rpm -U --replacepkgs --nosignature "${files[@]}" || stop "Error: Failed to install packages."
else
    dpkg -i "${files[@]}" || stop "Error: Failed to install packages."
fi

mkdir -p /opt/amazon
printf '# EFA installer version: %s\n# Debug packages installed: no\n# Packages installed:\n%s\n' \
    "$EFA_INSTALLER_VERSION" "${names[*]}" >"$RECORD"
echo "EFA installation complete."
