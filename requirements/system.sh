#!/bin/sh
# What an environment needs from the operating system: `requirements/system.sh runtime|libero|dev`.
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

if [ "${1:-}" = libero ]; then
    # MuJoCo draws with OSMesa, on the CPU; opencv-python, which LIBERO requires, links to the other two
    for pair in libOSMesa.so.8:libosmesa6 libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0; do
        "$python" -c "import ctypes; ctypes.CDLL('${pair%%:*}')" 2>/dev/null || packages="$packages ${pair##*:}"
    done
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
# shellcheck disable=SC2086  # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive $install -qq
