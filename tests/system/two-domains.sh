#!/bin/bash
# Two Debian domains with userlands of their own, as `cargo xtask run` makes them: megabytes between them and to domain 0 with
# equal checksums, a file system made, filled and checked on each kind of disk, vCPUs taken and given back.
export PATH=/usr/local/bin:$PATH
# The long form, which has more than the transfer to alpha: LONG=1 MEGABYTES=64 in /root/long.
LONG=
MEGABYTES=16
[ -e /root/long ] && . /root/long
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
step() { echo "$(cut -d. -f1 /proc/uptime) s: $*"; }
wait_for() { local left=$1; shift; until "$@" > /dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 1; done; }

# A shell on a guest's console: `console GUEST COMMAND` prints what the command printed and ends with its status.
cat > /tmp/console.py <<'PYTHON'
import os, pty, re, select, sys, time
process, terminal = pty.fork()
if process == 0:
    os.execvp("xl", ["xl", "console", sys.argv[1]])
text = ""
def read(seconds, pattern):
    global text
    end = time.time() + seconds
    while not (match := re.search(pattern, text)):
        if time.time() > end:
            sys.exit("console of %s: no %r in %r" % (sys.argv[1], pattern, text))
        if select.select([terminal], [], [], 0.2)[0]:
            text += os.read(terminal, 4096).decode(errors="replace")
    text = text[match.end():]
    return match
def say(line):
    os.write(terminal, line.encode() + b"\r")
say("")
# A guest that has only just begun has nobody who reads what is typed.
if "login" in read(180, r"login: $|# $").group():
    say("root"); read(60, "# $")
say("stty -echo; PS1=; PS2=; bind 'set enable-bracketed-paste off' 2>/dev/null; echo $((40 + 2)) ready"); read(30, "42 ready")
say("{ " + sys.argv[2] + "; } 2>&1; echo \"status-$?-\"; PS1='# '")
end = time.time() + 240
status = read(240, r"(?s)^\s*(.*)status-(\d+)-")
say("exit")
print(status.group(1).replace("\r", "").strip())
sys.exit(int(status.group(2)))
PYTHON
console() { python3 /tmp/console.py "$@"; }
sum() { sha1sum | cut -d' ' -f1; }

bash /guest/two-domains || fail "two-domains"
xl list | grep -q '^alpha ' && xl list | grep -q '^beta ' || fail "they are not listed: $(xl list)"
for address in 10.9.0.2 10.9.0.3; do
    wait_for 120 ping -c 1 -W 1 $address || fail "$address does not answer: $(xl list; tail -n 5 /var/log/xen/*.log)"
done
step "both answer"
console alpha '. /etc/os-release; echo $ID; hostname' > /tmp/output || fail "a login in alpha: $(cat /tmp/output)"
[ "$(tr '\n' ' ' < /tmp/output)" = "debian alpha " ] || fail "alpha is $(cat /tmp/output)"
console beta 'ping -c 2 10.9.0.2' > /tmp/output || fail "beta does not reach alpha: $(cat /tmp/output)"
step "logged in"

# Domain 0 to alpha, alpha to beta, beta to domain 0. Each end tells the checksum of what it sent or got.
receive='rm -f /run/got; (setsid /run/busybox nc -l -p 5000 < /dev/null | sha1sum > /run/got) & sleep 1'
dd if=/dev/urandom of=/root/data bs=1M count=$MEGABYTES 2> /dev/null
sent=$(sum < /root/data)
console alpha "$receive" > /dev/null || fail "alpha cannot listen"
cat /root/data > /dev/tcp/10.9.0.2/5000 || fail "domain 0 cannot send"
got=$(console alpha 'until [ -s /run/got ]; do sleep 0.2; done; cut -c1-40 /run/got')
[ "$got" = "$sent" ] || fail "domain 0 sent $sent, alpha got $got"
step "$MEGABYTES MiB to alpha"
if [ -z "$LONG" ]; then
    for name in alpha beta; do xl destroy $name || fail "destroy $name"; done
    # A domain lasts until its back ends have given back its pages.
    wait_for 30 sh -c '[ "$(xl list | wc -l)" = 2 ]' || fail "they are still there: $(xl list)"
    [ $failures = 0 ] && echo "all well"
    exit $failures
fi
console beta "$receive" > /dev/null || fail "beta cannot listen"
sent=$(console alpha "dd if=/dev/urandom of=/var/tmp/data bs=1M count=$MEGABYTES 2> /dev/null; cat /var/tmp/data > /dev/tcp/10.9.0.3/5000; sha1sum < /var/tmp/data | cut -c1-40")
got=$(console beta 'until [ -s /run/got ]; do sleep 0.2; done; cut -c1-40 /run/got')
[ -n "$sent" ] && [ "$got" = "$sent" ] || fail "alpha sent $sent, beta got $got"
step "$MEGABYTES MiB from alpha to beta"
python3 -c '
import hashlib, socket
server = socket.create_server(("10.9.0.1", 5000)); connection = server.accept()[0]; sum = hashlib.sha1()
while piece := connection.recv(65536): sum.update(piece)
print(sum.hexdigest())' > /tmp/got &
receiver=$!
wait_for 20 sh -c 'grep -q 0100090A:1388 /proc/net/tcp'
sent=$(console beta "dd if=/dev/urandom of=/var/tmp/data bs=1M count=$MEGABYTES 2> /dev/null; cat /var/tmp/data > /dev/tcp/10.9.0.1/5000; sha1sum < /var/tmp/data | cut -c1-40")
wait $receiver
[ -n "$sent" ] && [ "$(cat /tmp/got)" = "$sent" ] || fail "beta sent $sent, domain 0 got $(cat /tmp/got)"
step "$MEGABYTES MiB from beta to domain 0"

# A file system on each kind of disk: a raw file, a qcow2 image, a whole disk, a partition of it, a volume of LVM on it.
truncate -s 24M /root/file.img
# An empty image of 24 MiB: header, refcount table, refcount block, L1 table, a cluster of 64 KiB each.
zeros() { head -c "$1" /dev/zero; }
{ printf 'QFI\xfb\0\0\0\3'; zeros 12; printf '\0\0\0\x10\0\0\0\0\x01\x80\0\0'; zeros 4
  printf '\0\0\0\1\0\0\0\0\0\3\0\0\0\0\0\0\0\1\0\0\0\0\0\1'; zeros 36; printf '\0\0\0\4\0\0\0\x68'; zeros 65432
  printf '\0\0\0\0\0\2\0\0'; zeros 65528; printf '\0\1\0\1\0\1\0\1'; zeros 65528; zeros 65536; } > /root/image.qcow2
disk=/dev/vdd
# One partition of 24 MiB from sector 2048 on.
dd if=/dev/zero of=$disk bs=512 count=1 2> /dev/null
printf '\0\0\0\0\203\0\0\0\0\10\0\0\0\300\0\0' | dd of=$disk bs=1 seek=446 conv=notrunc 2> /dev/null
printf '\125\252' | dd of=$disk bs=1 seek=510 conv=notrunc 2> /dev/null
blockdev --rereadpt $disk
wait_for 10 [ -b ${disk}1 ] || fail "no partition"
filesystem='until [ -b /dev/xvdb ]; do sleep 0.1; done; mke2fs -q -F -t ext4 /dev/xvdb > /run/mke2fs 2>&1 && mount /dev/xvdb /mnt &&
{ yes 0123456789abcdef | head -c 60000000 > /mnt/full; tar -C / -cf - usr/share/perl5 2>/dev/null | head -c 1000000 > /mnt/a; } 2>/dev/null;
rm /mnt/full; dd if=/dev/urandom of=/mnt/data bs=1M count=12 2>/dev/null; one=$(sha1sum < /mnt/data); umount /mnt &&
e2fsck -fn /dev/xvdb > /run/e2fsck 2>&1 || { cat /run/e2fsck; false; } && mount -o ro /dev/xvdb /mnt && [ "$one" = "$(sha1sum < /mnt/data)" ] && umount /mnt && echo sound'
# Nobody makes device nodes here but LVM itself.
cat > /etc/lvm/lvmlocal.conf <<'CONFIG'
activation { udev_sync = 0 udev_rules = 0 }
devices { obtain_device_list_from_udev = 0 }
CONFIG
modprobe dm-mod
for kind in /root/file.img,raw,xvdb,w /root/image.qcow2,qcow2,xvdb,w phy:$disk,xvdb,w phy:${disk}1,xvdb,w phy:domains/data,xvdb,w; do
    case $kind in
        # The partition has a file system by now, and the table says so.
        phy:domains/*)
            dd if=/dev/zero of=$disk bs=1M count=2 2> /dev/null && blockdev --rereadpt $disk
            { pvcreate -q -ff -y $disk && vgcreate -q domains $disk && lvcreate -q -y -Wn -L 24M -n data domains; } > /tmp/output 2>&1 || fail "LVM: $(cat /tmp/output)" ;;
    esac
    xl block-attach alpha "$kind" || fail "block-attach $kind"
    [ "$(console alpha "$(echo $filesystem)")" = sound ] || fail "the file system on $kind: $(console alpha 'cat /run/e2fsck; tail -n 3 /proc/mounts; cat /proc/partitions')"
    case $kind in
        *qcow2*)
            before=$(stat -c %b /root/image.qcow2)
            console alpha 'mount /dev/xvdb /mnt && fstrim /mnt; umount /mnt' > /tmp/output || fail "fstrim: $(cat /tmp/output)"
            # In sectors: what was filled and removed was most of the disk.
            [ "$(stat -c %b /root/image.qcow2)" -lt $((before - 8192)) ] || fail "the image had $before sectors, and has $(stat -c %b /root/image.qcow2)" ;;
    esac
    xl block-detach alpha xvdb || fail "block-detach $kind"
    step "a file system on $kind"
done
# What was written to the image is there when it is served again, by another process.
xl block-attach alpha /root/image.qcow2,qcow2,xvdb,r || fail "block-attach of the image again: $(cat /var/log/xen/xl-disks.log)"
console alpha 'until [ -b /dev/xvdb ]; do sleep 0.1; done; e2fsck -fn /dev/xvdb' > /tmp/output || fail "the image: $(cat /tmp/output)"
xl block-detach alpha xvdb || fail "block-detach of the image"
wait_for 20 sh -c '! pgrep -f [s]erve-disk' || fail "the image is still served: $(pgrep -af [s]erve-disk)"
e2fsck -fn /root/file.img > /dev/null 2>&1 || fail "domain 0 finds errors in the file system"

[ "$(console alpha nproc)" = 2 ] || fail "alpha has $(console alpha nproc) CPUs, not 2"
xl vcpu-set alpha 1 || fail "vcpu-set 1"
wait_for 20 sh -c 'xl vcpu-list alpha | grep -q -- "--p"' || fail "the vCPU goes on: $(xl vcpu-list alpha)"
[ "$(console alpha nproc)" = 1 ] || fail "vcpu-set 1 leaves $(console alpha nproc)"
xl vcpu-set --ignore-host alpha 2 || fail "vcpu-set 2"
console alpha 'until echo 1 > /sys/devices/system/cpu/cpu1/online; do sleep 0.5; done 2> /dev/null; nproc' | grep -qx 2 || fail "vcpu-set 2"
step "vCPUs"

# They end by themselves when asked to.
xl shutdown -w alpha beta || fail "shutdown"
wait_for 30 sh -c '[ "$(xl list | wc -l)" = 2 ]' || fail "they are still there: $(xl list)"
e2fsck -fn /dev/vdb > /tmp/output 2>&1 || fail "alpha's root: $(tail -n 5 /tmp/output)"
step "ended"
[ $failures = 0 ] && echo "all well"
exit $failures
