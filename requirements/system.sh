#!/bin/sh
# What an environment needs from the operating system: `requirements/system.sh runtime|libero|simpler|calvin|dev`.
# Installs what is missing with apt, through sudo where you are not root, and does nothing where nothing is missing.
set -eu
python=${PYTHON:-python3}
packages=""

fail() {
    echo "vla_ros: $*" >&2
    exit 1
}

if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    fail "expected Linux on x86-64, got $(uname -s) on $(uname -m): there the ROS 2 wheels do not exist." \
        "Install ROS 2 from apt or in a container and build this repository with colcon."
fi
command -v "$python" >/dev/null || fail "no $python: apt-get install python3, or name another: make PYTHON=python3.11"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
    3.10 | 3.11 | 3.12) ;;
    *) fail "expected Python 3.10, 3.11 or 3.12, got $version as $python: name another, e.g. make PYTHON=python3.11" ;;
esac

# Debian and Ubuntu split venv's installer off python3
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python$version-venv"

case ${1:-} in
    # MuJoCo draws with OSMesa, on the CPU; opencv-python, which LIBERO requires, links to the other two
    libero) libraries="libOSMesa.so.8:libosmesa6 libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0" ;;
    # SAPIEN links to X11, although it opens no window; opencv-python, which ManiSkill requires, to the other two
    simpler) libraries="libX11.so.6:libx11-6 libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0" ;;
    # Bullet draws with OpenGL through EGL, without a GPU on the CPU through Mesa
    calvin) libraries="libEGL.so.1:libegl1 libEGL_mesa.so.0:libgl1-mesa-dri" ;;
    *) libraries="" ;;
esac
for pair in $libraries; do
    "$python" -c "import ctypes; ctypes.CDLL('${pair%%:*}')" 2>/dev/null || packages="$packages ${pair##*:}"
done

# pybullet has no wheel for Python 3.12: pip builds it, which takes a quarter of an hour
if [ "${1:-}" = calvin ] && [ "$version" = 3.12 ]; then
    command -v g++ >/dev/null || packages="$packages g++"
    header="import os, sysconfig; exit(not os.path.exists(sysconfig.get_paths()['include'] + '/Python.h'))"
    "$python" -c "$header" || packages="$packages python$version-dev"
fi

# SAPIEN draws with Vulkan, on the CPU through Mesa's lavapipe: not with that of a Mesa older than this
least_mesa=25
mesa=""
if [ "${1:-}" = simpler ] && ! PYTHONPATH="$(dirname "$0")/.." "$python" -m vla_ros.sim.lavapipe >/dev/null 2>&1; then
    mesa=mesa-vulkan-drivers
    packages="$packages $mesa"
fi

[ -n "$packages" ] || exit 0
install="apt-get install --yes --no-install-recommends$packages"
command -v apt-get >/dev/null || fail "missing:$packages (Debian's names), and no apt-get to install them with"
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null; then
    as_root=sudo
    echo "vla_ros: these system packages are missing:$packages. sudo may ask for your password to run: $install"
else
    fail "missing:$packages. You are not root and there is no sudo; as root, run: apt-get update && $install"
fi
echo "vla_ros: installing$packages"
$as_root apt-get update -qq

# Where this distribution's own Mesa is too old: Debian 12 has a newer one in its backports, which it takes from only
# where it is told to.
candidate=$([ -z "$mesa" ] || LC_ALL=C apt-cache policy $mesa | sed -n 's/^ *Candidate: //p')
if [ -n "$mesa" ] && dpkg --compare-versions "$candidate" lt $least_mesa; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | head -n 1)
    [ -n "$mirror" ] || fail "expected $mesa $least_mesa or newer, got $candidate: this distribution has no newer Mesa." \
        "Use Debian 12 or newer or Ubuntu 24.04 or newer, or install a newer Mesa and run this again."
    if ! apt-cache madison $mesa | grep -q bpo12; then
        list=/etc/apt/sources.list.d/bookworm-backports.list
        echo "vla_ros: adding Debian's backports in $list"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" |
            $as_root tee $list >/dev/null
        $as_root apt-get update -qq
    fi
    install="$install/bookworm-backports"  # of the last package: Mesa, with what it needs from there
fi
# shellcheck disable=SC2086  # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive $install -qq
