#!/bin/sh
# What libxl runs for each end of the guest's network card. Xen's own script does
# much more, too much for the time that libxl gives it where all is emulated.
case $1 in
online | add) exec ip link set "${INTERFACE:-$vif}" master xenbr0 up ;;
esac
