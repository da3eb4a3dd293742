#!/bin/bash
# Programs, disks and networks in domain 0 and in a domain: run by `cargo xtask bench loads`, in domain 0 (or on the bare machine), with
# $XL as the command.
export PATH=/usr/local/bin:$PATH
. /bench/settings
status=0
load() { bash /bench/load.sh "$@" || status=1; }
give_up() { echo "$*"; cat /tmp/out; tail -n 5 /var/log/xen/*.log; xl list; exit 1; }

iperf3 --server --daemon
load programs dom0
load disk dom0 $DISK
load network dom0.loopback 127.0.0.1
[ -n "$XL" ] || exit $status

modprobe -a xen-blkback xen-netback bridge
ip link add xenbr0 type bridge
ip address add 10.9.0.1/24 dev xenbr0
ip link set xenbr0 up
number=2
for name in alpha beta; do
    root=/dev/vdb
    [ $name = beta ] && root=/dev/vdc
    mount $root /mnt && cp -a /bench /mnt/ && umount /mnt || give_up "no root for $name"
    disks="'phy:$root,xvda,w'"
    [ $name = alpha ] && disks="$disks, 'phy:$DISK,xvdb,w'"
    cat > /root/$name.cfg <<CONFIG
name = "$name"
kernel = "/guest/vmlinuz"
ramdisk = "/guest/initrd"
memory = $([ $name = alpha ] && echo 320 || echo 160)
vcpus = 1
extra = "console=hvc0 quiet norandmaps guest.name=$name guest.ip=10.9.0.$number/24 guest.root=/dev/xvda guest.run=/bench/in_domain.sh"
disk = [$disks]
vif = ["bridge=xenbr0,mac=00:16:3e:00:01:0$number"]
CONFIG
    $XL create /root/$name.cfg > /tmp/out 2>&1 || give_up "create $name"
    number=$((number + 1))
done
log=/var/log/xen/console/guest-alpha.log
# Seldom, and without starting anything but this, since it counts: what alpha says is looked through.
for ((tries = 0; tries < 180; tries++)); do
    grep -q 'ended with status' $log 2> /dev/null && break
    $XL domid alpha > /tmp/out 2>&1 || give_up "alpha ended: $(tail -n 30 $log)"
    sleep 10
done
tr -d '\r' < $log
grep -q 'ended with status 0' $log || give_up "alpha did not end well"
$XL destroy alpha
$XL destroy beta
exit $status
