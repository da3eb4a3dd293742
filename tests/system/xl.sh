#!/bin/bash
# The life of a paravirtual Debian guest under Debian's xl, with whatever daemons the harness started: created, listed, its
# console used, disks and network cards attached and detached, rebooted, destroyed. With GRANTS=N in domain 0's arguments
# domain 0 and the guest have grant tables of that version.
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
step() { echo "$(cut -d. -f1 /proc/uptime) s: $*"; }
die() { fail "$*"; echo "---- the console"; tail -c 3000 "$console"; echo "---- daemons"; tail -n 20 /var/log/xen/*-daemon.log /var/log/xen/xl-guest.log; exit 1; }
console=/tmp/console.out

# expect TEXT SECONDS: until the console has printed it since the last `mark`.
mark() { marked=$(stat -c %s "$console"); }
expect() {
    until tail -c +$((marked + 1)) "$console" | grep -qF "$1"; do
        [ $(($(cut -d. -f1 /proc/uptime) - since)) -lt "$2" ] || die "the console lacks “$1”"
        sleep 0.2
    done
}
# do_in_guest COMMAND TEXT SECONDS
do_in_guest() {
    mark
    since=$(cut -d. -f1 /proc/uptime)
    printf '%s\r' "$1" >&3
    expect "$2" "$3"
}
attach_console() {
    [ -z "$viewer" ] || { kill "$viewer" 2>/dev/null; wait "$viewer" 2>/dev/null; }
    : > "$console"
    marked=0
    since=$(cut -d. -f1 /proc/uptime)
    # Debian's xenconsole does not wait for long.
    until xenstore-read "/local/domain/$(domid)/console/tty" > /dev/null 2>&1; do
        [ $(($(cut -d. -f1 /proc/uptime) - since)) -lt 120 ] || die "there is no console"
        sleep 0.5
    done
    since=$(cut -d. -f1 /proc/uptime)
    # Without a terminal Debian's xenconsole only looks.
    script -q -c 'xl console guest' /dev/null < /tmp/keys > "$console" 2>&1 &
    viewer=$!
}
domid() { xl domid guest 2>/dev/null; }

mkfifo /tmp/keys
exec 3<>/tmp/keys
modprobe -a loop xen-blkback xen-netback bridge || fail "modules"
for number in 0 1; do
    dd if=/dev/urandom of=/root/disk$number bs=64k count=16 2>/dev/null
    losetup /dev/loop$number /root/disk$number || fail "loop$number"
done
brctl addbr xenbr0 && ip address add 10.9.0.1/24 dev xenbr0 && ip address add 10.9.1.1/24 dev xenbr0 && ip link set xenbr0 up || fail "bridge"

step "creating"
version=${GRANTS:-1}
layout="Grant tables using version $version layout"
dmesg | grep -qF "$layout" || fail "domain 0: $(dmesg | grep 'Grant table')"
xl create /guest/guest.cfg "extra = \"$(sed -n 's/^extra *= *"\(.*\)"/\1/p' /guest/guest.cfg) grant_table.version=$version\"" 'disk = ["phy:/dev/loop0,xvda,w"]' 'vif = ["mac=00:16:3e:00:00:01,bridge=xenbr0"]' > /tmp/create.log 2>&1 ||
    { cat /tmp/create.log; die "xl create"; }
first=$(domid)
step "created domain $first"
xl list | grep -q '^guest ' || fail "xl list does not know the guest"
attach_console
expect 'guest login:' 120
step "login prompt"
# Typed characters are echoed, by the guest.
do_in_guest root '# ' 30
do_in_guest 'echo answer-$((6 * 7))' 'answer-42' 30
tail -c +$((marked + 1)) "$console" | grep -qF 'echo answer-' || fail "what was typed is not echoed"

do_in_guest "dmesg | grep -qF '$layout' && echo grants-\$((11 * $version))" "grants-$((11 * version))" 30
sum() { sha1sum | cut -d' ' -f1; }
do_in_guest 'sha1sum /dev/xvda' "$(sum < /root/disk0)" 60
do_in_guest 'ping -c 1 10.9.0.1' ' 0% packet loss' 60
ping -c 1 -W 10 10.9.0.2 > /dev/null || fail "the guest does not answer"
step "disk and network work"

xl block-attach guest phy:/dev/loop1,xvdb,w || fail "block-attach"
do_in_guest 'until [ -b /dev/xvdb ]; do sleep 0.2; done; sha1sum /dev/xvdb' "$(sum < /root/disk1)" 60
do_in_guest 'yes guest | head -c 65536 > /dev/xvdb; sync; echo written-$?' 'written-0' 60
xl block-list guest | grep -q 51728 || fail "block-list lacks xvdb"
xl block-detach guest xvdb || fail "block-detach"
[ "$(head -c 65536 /dev/loop1 | sum)" = "$(yes guest | head -c 65536 | sum)" ] || fail "what the guest wrote is not on the disk"
do_in_guest 'while [ -e /dev/xvdb ]; do sleep 0.2; done; echo gone-$((1 + 1))' 'gone-2' 60
step "disk attached, detached"

xl network-attach guest mac=00:16:3e:00:00:02 bridge=xenbr0 || fail "network-attach"
do_in_guest 'until [ -e /sys/class/net/eth1 ]; do sleep 0.2; done; ip address add 10.9.1.2/24 dev eth1; ip link set eth1 up; echo up-$((2 + 2))' 'up-4' 60
ping -c 3 -W 10 10.9.1.2 > /dev/null || fail "the second card does not answer"
xl network-detach guest 1 || fail "network-detach"
do_in_guest 'while [ -e /sys/class/net/eth1 ]; do sleep 0.2; done; echo without-$((3 + 3))' 'without-6' 60
step "network attached, detached"

xl reboot guest || fail "xl reboot"
since=$(cut -d. -f1 /proc/uptime)
until [ -n "$(domid)" ] && [ "$(domid)" != "$first" ] && xl list | grep -q '^guest '; do
    [ $(($(cut -d. -f1 /proc/uptime) - since)) -lt 180 ] || die "the guest does not come back"
    sleep 0.5
done
second=$(domid)
step "rebooted: domain $second"
attach_console
expect 'guest login:' 180
do_in_guest root '# ' 30
do_in_guest 'echo again-$((5 * 5))' 'again-25' 30
step "login after the reboot"

xl destroy guest || fail "xl destroy"
sleep 2
xl list | grep -q '^guest ' && fail "the guest is still listed"
for domain in "$first" "$second"; do
    for path in /local/domain/$domain /local/domain/0/backend/vbd/$domain /local/domain/0/backend/vif/$domain; do
        xenstore-exists "$path" && fail "$path is left in the store"
    done
done
kill "$viewer" 2>/dev/null
[ "$(xl list | wc -l)" = 2 ] || { xl list; fail "there is more than domain 0 left"; }
step "destroyed"
cat /var/log/xen/*-daemon.log
[ $failures = 0 ] && echo "all well"
exit $failures
