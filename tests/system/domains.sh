#!/bin/bash
# Domains by our xl, from their making to their end: a small paravirtual guest, disks, a network, what follows when it
# stops, and what killed commands leave. Runs on Debian's Xen as well (--hypervisor debian-xen).
export PATH=/usr/local/bin:$PATH
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
# `check WHAT COMMAND…`: the command succeeds
check() { local what=$1; shift; "$@" > /tmp/output 2>&1 || { fail "$what: status $?: $(cat /tmp/output)"; return 1; }; }
# `says TEXT COMMAND…`: its output has the text, whatever its status
says() { local text=$1; shift; "$@" > /tmp/output 2>&1; grep -qF -- "$text" /tmp/output || fail "$*: no \"$text\" in: $(cat /tmp/output)"; }
# `wait_for SECONDS COMMAND…`
wait_for() { local left=$1; shift; until "$@" > /dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 1; done; }
free_mib() { xl info | sed -n 's/^free_memory *: //p'; }
# Directories stay when the last domain goes.
nodes() { xenstore-ls -f | grep -vcE '^/(local/domain/0|libxl =|vm =)'; }

# Types lines on a guest's console, one every few seconds, and prints what comes: `console GUEST LINE…`
cat > /tmp/console.py <<'PYTHON'
import os, pty, select, sys, time
process, terminal = pty.fork()
if process == 0:
    os.execvp("xl", ["xl", "console", sys.argv[1]])
def read(seconds, until=b"# "):
    end, text = time.time() + seconds, b""
    while time.time() < end and not text.endswith(until):
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                text += os.read(terminal, 4096)
            except OSError:
                break
    return text.decode(errors="replace")
os.write(terminal, b"\n"); read(3, b"login: "); os.write(terminal, b"root\n"); read(8)
for line in sys.argv[2:]:
    os.write(terminal, line.encode() + b"\n"); print(read(20))
PYTHON
console() { timeout 120 python3 /tmp/console.py "$@"; }
ready() { wait_for 180 ping -c 1 -W 1 10.9.0.2; }

modprobe bridge
check bridge ip link add xenbr0 type bridge
ip address add 10.9.0.1/24 dev xenbr0
ip link set xenbr0 up
dd if=/dev/urandom of=/root/one.img bs=1M count=8 2> /dev/null
dd if=/dev/zero of=/root/two.img bs=1M count=4 2> /dev/null
cat > /root/web.cfg <<'CONFIG'
name = "web"
kernel = "/guest/vmlinuz"
ramdisk = "/guest/initrd"
memory = 160
maxmem = 192
extra = "console=hvc0 quiet guest.ip=10.9.0.2/24"
disk = ["/root/one.img,raw,xvda,w", "/root/two.img,,xvdb,r"]
vif = ["bridge=xenbr0,mac=00:16:3e:01:02:03"]
CONFIG
free_before=$(free_mib)
nodes_before=$(nodes)
sum=$(sha256sum < /root/one.img | cut -c1-64)

# What is refused, and leaves nothing.
says 'command line:1:6: this list does not end' xl create /root/web.cfg 'disk=['
sed 's/^memory.*/memory = ]/' /root/web.cfg > /root/broken.cfg
says '/root/broken.cfg:4:10: ' xl create /root/broken.cfg
says 'command line:1:8: `memory` is 0' xl create /root/web.cfg 'memory=0'
says 'no bridge nowhere' xl create /root/web.cfg 'vif=["bridge=nowhere"]'
says '/root/three.img: No such file' xl create /root/web.cfg 'disk=["/root/three.img,raw,xvda"]'
says 'only type="pv"' xl create /root/web.cfg 'type="hvm"'
says 'not enough free memory' xl create /root/web.cfg 'memory=100000' 'maxmem=100000'
says 'web is an invalid domain identifier (rc=-6)' xl destroy web
[ "$(nodes)" = "$nodes_before" ] || fail "refused domains left nodes"

check 'create -p' xl create -p /root/web.cfg
says '--p---' xl list web
says 'already exists' xl create /root/web.cfg
check unpause xl unpause web
if ready; then
    says '51712' xl block-list web
    says '00:16:3e:01:02:03     0     4' xl network-list web
    says "$sum" console web 'sha256sum /dev/xvda'
    says 'not permitted' console web 'dd if=/dev/zero of=/dev/xvdb count=1'
    says '0% packet loss' ping -c 5 10.9.0.2
    check block-attach xl block-attach web /root/two.img,raw,xvdc,r
    says 'xvdc' console web 'cat /proc/partitions'
    check block-detach xl block-detach web xvdc
    check network-attach xl network-attach web bridge=xenbr0
    says 'eth1' console web 'ip link'
    check network-detach xl network-detach web 1
    check mem-set xl mem-set web 120
    wait_for 20 sh -c 'xl list web | grep -q " 120 "' || fail "it does not balloon down: $(xl list web)"
    check pause xl pause web
    says 'p---' xl list web
    check unpause xl unpause web
    check rename xl rename web site
    says site xl domname "$(xl domid site)"
    check dump-core xl dump-core site /root/core
    [ "$(stat -c %s /root/core)" -gt $((100 << 20)) ] || fail "the dump is too small"
    # A reboot makes it again, with another number.
    number=$(xl domid site)
    console site 'reboot -f' > /dev/null
    wait_for 60 sh -c "[ \"\$(xl domid site)\" -gt $number ]" || fail "no reboot: $(xl list; cat /var/log/xen/xl-monitor.log)"
    ready || fail "it does not answer after its reboot"
    # A crash is kept if the configuration says so.
    sed 's/web/site/' /root/web.cfg > /root/site.cfg
    check config-update xl config-update site /root/site.cfg 'on_crash="preserve"'
    console site 'echo c > /proc/sysrq-trigger' > /dev/null
    wait_for 30 sh -c 'xl list site | grep -q "sc-"' || fail "no crash: $(xl list)"
    check destroy xl destroy site
else
    fail "the guest does not answer: $(xl list; tail -n 20 /var/log/xen/*.log)"
fi

# One that always stops at once is made again every time.
printf 'name="again"\nmemory=16\nkernel="/guest/hello"\non_poweroff="restart"\n' > /root/again.cfg
check 'create of one that stops' xl create /root/again.cfg
wait_for 60 sh -c '[ "$(grep -c "(again) stopped" /var/log/xen/xl-monitor.log)" -ge 3 ]' || fail "it is not made again: $(xl list; tail -n 5 /var/log/xen/xl-monitor.log)"
# It may be about to be made again.
wait_for 10 sh -c 'xl destroy again; sleep 3; ! xl domid again' || fail "it is still made again: $(xl list)"

# Killed at any time, a command leaves nothing that cannot be cleaned up.
for pause in 0.05 0.1 0.2 0.3 0.4 0.6; do
    xl create -p /root/web.cfg > /dev/null 2>&1 &
    victim=$!
    sleep $pause
    kill -9 $victim 2> /dev/null
    wait $victim 2> /dev/null
    xl reconcile > /dev/null || fail "reconcile after $pause s"
    xl destroy web > /dev/null 2>&1
done
[ -z "$(losetup -a)" ] || fail "loop devices are left: $(losetup -a)"
[ "$(nodes)" = "$nodes_before" ] || fail "nodes are left: $(xenstore-ls -f | grep -v '^/local/domain/0')"
[ "$(free_mib)" -ge $((free_before - 1)) ] || fail "memory: $free_before MiB free before, $(free_mib) after"
[ "$(ls /run/xenolith/domains /run/xenolith/names | grep -v :)" = "" ] || fail "records are left"
[ $failures = 0 ] && echo "all as it should be"
exit $failures
