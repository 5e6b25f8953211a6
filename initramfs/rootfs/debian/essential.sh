# Run by mmdebstrap as root of the new system's user namespace, once apt works
# in the new system "$1" and before the other packages are installed.
set -eu
umask 022
root=$1

# Our files first: the packages find them and configure themselves accordingly.
cp -R "$BOOTLUN_FILES/." "$root/"
