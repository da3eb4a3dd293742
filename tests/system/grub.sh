#!/bin/bash
# Domains that boot from their own disks, by Debian's GRUB for paravirtual guests: a file system with GRUB's
# configuration and a kernel in it. The test guest that says hello; with `--kernel-args FULL=1` Debian's kernel with its initrd as well,
# which GRUB unpacks, and that takes a minute.
export PATH=/usr/local/bin:$PATH
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
# `disk NAME MIB`: /root/NAME.img from the files in /root/NAME
disk() { truncate -s "$2M" "/root/$1.img" && mke2fs -q -F -t ext4 -d "/root/$1" "/root/$1.img" || fail "mke2fs of $1"; }
# `boot NAME TEXT SECONDS`: boots a domain of the disk and waits for the text on its console
boot() {
    cat > "/root/$1.cfg" <<CONFIG
name = "$1"
kernel = "/guest/grub-xen"
memory = 256
on_crash = "preserve"
disk = ["/root/$1.img,raw,xvda,w"]
CONFIG
    xl create -p "/root/$1.cfg" > /dev/null || { fail "create $1"; return; }
    xl console "$1" <&9 > "/tmp/$1.console" 2>&1 &
    local viewer=$! left=$3
    xl unpause "$1" || fail "unpause $1"
    until grep -q -- "$2" "/tmp/$1.console"; do
        left=$((left - 1))
        [ $left -gt 0 ] || { fail "$1 does not say \"$2\": $(tail -c 2000 "/tmp/$1.console"); $(xl list)"; break; }
        sleep 1
    done
    kill $viewer 2> /dev/null
    xl destroy "$1" 2> /dev/null
    [ $left -gt 0 ] && echo "$1: $2"
}

# Nobody types.
mkfifo /tmp/silence
exec 9<> /tmp/silence

mkdir -p /root/hello/boot/grub
cp /guest/hello /root/hello/boot/
cat > /root/hello/boot/grub/grub.cfg <<'CONFIG'
set timeout=0
menuentry "hello" {
    linux /boot/hello word
}
CONFIG
disk hello 16
boot hello 'hello from a paravirtual guest' 60

if [ -n "$FULL" ]; then
    mkdir -p /root/debian/boot/grub
    cp /guest/vmlinuz /guest/initrd /root/debian/boot/
    cat > /root/debian/boot/grub/grub.cfg <<'CONFIG'
set timeout=0
menuentry "Debian" {
    linux /boot/vmlinuz console=hvc0 quiet guest.name=from-disk
    initrd /boot/initrd
}
CONFIG
    disk debian 100
    boot debian 'from-disk login:' 400
fi
[ -z "$(losetup -a)" ] || fail "loop devices: $(losetup -a)"
[ $failures = 0 ] && echo "all well"
exit $failures
