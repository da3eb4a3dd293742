#!/bin/bash
# Network interfaces by routes, and behind domain 0's address, by our code and by Xen's scripts; disks on volumes of LVM, and
# by Xen's script: a guest reaches domain 0 and the world outside over each, and nothing is left behind.
export PATH=/usr/local/bin:$PATH
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
step() { echo "$(cut -d. -f1 /proc/uptime) s: $*"; }
wait_for() { local left=$1; shift; until "$@" > /dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 0.5; done; }
sum() { sha256sum | cut -c1-64; }
nodes() { xenstore-ls -f | grep -vcE '^/(local/domain/0|libxl =|vm =)'; }

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
if "login" in read(180, r"login: $|# $").group():
    say("root"); read(60, r"# (\x1b\[6n)?$")
say("stty -echo; PS1=; PS2=; echo $((40 + 2)) ready"); read(30, "42 ready")
say("{ " + sys.argv[2] + "; } 2>&1; echo \"status-$?-\"; PS1='# '")
status = read(120, r"(?s)^\s*(.*)status-(\d+)-")
print(status.group(1).replace("\r", "").replace("\x1b[6n", "").strip())
sys.exit(int(status.group(2)))
PYTHON
console() { timeout 300 python3 /tmp/console.py "$@"; }

# Nobody makes device nodes here but LVM itself.
cat > /etc/lvm/lvmlocal.conf <<'CONFIG'
activation { udev_sync = 0 udev_rules = 0 }
devices { obtain_device_list_from_udev = 0 }
CONFIG
modprobe -a dm-mod xen-blkback xen-netback bridge loop nf_tables nft_chain_nat nft_masq
{ pvcreate -q /dev/vdb && vgcreate -q domains /dev/vdb && lvcreate -q -Wn -L 16M -n guest domains; } > /tmp/output 2>&1 || fail "LVM: $(cat /tmp/output)"
dd if=/dev/urandom of=/dev/domains/guest bs=1M count=16 2> /dev/null
dd if=/dev/urandom of=/root/file.img bs=1M count=4 2> /dev/null
card=$(ip -o address | sed -n 's/^[0-9]*: \([^ ]*\) .* 10\.0\.2\.15\/.*/\1/p')
ip link add xenbr0 type bridge && ip address add 10.9.0.1/24 dev xenbr0 && ip link set xenbr0 mtu 1400 up || fail "bridge"
nodes_before=$(nodes)
outside="wget -q -O - http://$HOST/random/100000 | sha256sum | cut -c1-64"
expected=$(wget -q -O - "http://$HOST/random/100000" | sum)

cat > /root/guest.cfg <<'CONFIG'
name = "guest"
kernel = "/guest/vmlinuz"
ramdisk = "/guest/initrd"
memory = 160
extra = "console=hvc0 quiet guest.ip=10.9.0.2/24"
disk = ["phy:domains/guest,xvda,w", "script=block,format=raw,vdev=xvdb,access=w,target=/root/file.img"]
vif = ["script=vif-bridge,bridge=xenbr0"]
CONFIG
xl create -q /root/guest.cfg || { fail "create: $(tail -n 20 /var/log/xen/*.log)"; exit 1; }
losetup -a | grep -q /root/file.img || fail "Xen's script made no loop device"
[ "$(console guest 'sha256sum /dev/xvda | cut -c1-64')" = "$(sum < /dev/domains/guest)" ] || fail "the volume is another in the guest"
[ "$(console guest 'sha256sum /dev/xvdb | cut -c1-64')" = "$(sum < /root/file.img)" ] || fail "the file is another in the guest"
console guest 'yes volume | head -c 1048576 > /dev/xvda; yes file | head -c 1048576 > /dev/xvdb; sync' || fail "writing"
# What domain 0 has read before is not what is there now.
blockdev --flushbufs /dev/domains/guest
[ "$(head -c 1048576 /dev/domains/guest | sum)" = "$(yes volume | head -c 1048576 | sum)" ] || fail "what the guest wrote is not in the volume"
[ "$(head -c 1048576 /root/file.img | sum)" = "$(yes file | head -c 1048576 | sum)" ] || fail "what the guest wrote is not in the file"
ping -c 1 -W 10 10.9.0.2 > /dev/null || fail "no answer over the bridge"
[ "$(cat /sys/class/net/vif1.0/mtu)" = 1400 ] || fail "the interface's packets are larger than the bridge's"
step "a volume of LVM, a file and a bridge by Xen's scripts"

# `try WHAT SPECIFICATION`: an interface whose guest's address is $address (that of xenstore if none)
try() {
    local domain address=$address
    domain=$(xl domid guest)
    xl network-attach guest "$2" || { fail "$1: network-attach: $(tail -n 5 /var/log/xen/xen-hotplug.log)"; return; }
    [ -n "$address" ] || address=$(xenstore-read "/local/domain/0/backend/vif/$domain/1/ip")
    # Everything else is asked for on the interface: domain 0 answers for it.
    console guest "until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done; ip address add $address/32 dev eth1; ip link set eth1 up; ip route add default dev eth1" ||
        fail "$1: the guest's end"
    ping -c 1 -W 10 "$address" > /dev/null || fail "$1: no answer from $address: $(ip route; ip address)"
    console guest "ping -c 1 -W 5 10.0.2.15" > /tmp/output || fail "$1: domain 0 does not answer: $(cat /tmp/output)"
    if [ -n "$3" ]; then
        [ "$(console guest "$outside")" = "$expected" ] || fail "$1: the world outside: $(console guest "$outside"; nft list ruleset)"
    fi
    xl network-detach guest 1 || fail "$1: network-detach"
    ip route | grep -q "$address" && fail "$1: a route is left: $(ip route)"
    step "$1, $address"
}
# Of the card's network, so that its others find it without being told.
# By our code: the guest is told of the bridge's smaller packets as well.
xl network-attach guest bridge=xenbr0 || fail "network-attach to the bridge"
[ "$(cat /sys/class/net/vif1.1/mtu) $(xenstore-read /local/domain/1/device/vif/1/mtu)" = "1400 1400" ] || fail "the packets' size"
xl network-detach guest 1 || fail "network-detach from the bridge"
address=10.0.2.77 try "routed" "script=xl-route,ip=10.0.2.77,gatewaydev=$card" outside
address= try "behind domain 0's address" "script=xl-nat,gatewaydev=$card" outside
nft list set ip xenolith guests | grep -q elements && fail "the guest is still behind domain 0's address: $(nft list ruleset)"
# Ours left these on.
for file in /proc/sys/net/ipv4/conf/$card/{forwarding,proxy_arp}; do echo 0 > "$file"; done
address=10.0.2.78 try "routed by Xen's script" "script=vif-route,ip=10.0.2.78,gatewaydev=$card"
address=10.7.0.1 try "vif-nat of Xen" "script=vif-nat,ip=10.7.0.1"
xl network-attach guest script=vif-bridge,bridge=nowhere 2> /tmp/output && fail "a bridge that is not there"
grep -q 'Could not find bridge device nowhere' /tmp/output || fail "it does not say what Xen's script says: $(cat /tmp/output)"
xl network-attach guest script=xl-route 2> /tmp/output && fail "a route to nobody"
[ "$(xl network-list guest | wc -l)" = 2 ] || fail "interfaces that failed are there: $(xl network-list guest)"

xl destroy guest || fail "destroy"
[ -z "$(losetup -a)" ] || fail "loop devices are left: $(losetup -a)"
[ "$(nodes)" = "$nodes_before" ] || fail "nodes are left: $(xenstore-ls -f | grep -v '^/local/domain/0')"
lvchange -an domains/guest || fail "the volume is in use"
[ $failures = 0 ] && echo "all as it should be"
exit $failures
