#!/bin/bash
# Our xl beside Debian's, on the same machine and the same domain: what scripts read of it, and the exit codes.
modprobe -a loop xen-blkback xen-netback bridge
ip link add xenbr0 type bridge && ip link set xenbr0 up
truncate -s 1M /root/disk && losetup /dev/loop0 /root/disk
cat > /root/tiny.cfg <<'CONFIG'
name = "tiny"
kernel = "/guest/hello"
memory = 16
maxmem = 32
vcpus = 2
disk = ["phy:/dev/loop0,xvda,w"]
vif = ["mac=00:16:3e:00:00:07,bridge=xenbr0"]
CONFIG
/usr/sbin/xl create -p /root/tiny.cfg 2> /dev/null || exit 1
compared=0 failures=0
# What goes on meanwhile does not count: times, who runs, and on which CPU (in the list of vCPUs, whose states are of three letters).
still() { sed -E 's/ +[0-9]+\.[0-9]( |$)/ T\1/; s/[0-9]+:[0-9]+:[0-9]+/T/g; s/ [r-][b-]([-p]+)/ ??\1/; s/ +[0-9]+ +(\?\?[-p] )/ C \1/' "$1"; }
# `same WORD…`: both print the same, with the same exit code. `code WORD…`: the exit code alone.
same() { compare output "$@"; }
code() { compare code "$@"; }
compare() {
    local how=$1 one two order=cat
    shift
    # Devices in the order of a directory.
    [ "$*" != "info -n" ] || order=sort
    compared=$((compared + 1))
    timeout 60 /usr/sbin/xl "$@" > /tmp/debian 2> /tmp/debian.errors < /dev/null; one=$?
    timeout 60 /usr/local/bin/xl "$@" > /tmp/ours 2> /tmp/ours.errors < /dev/null; two=$?
    if [ $one != $two ] || [ $how = output ] && ! diff <(still /tmp/debian | $order) <(still /tmp/ours | $order) > /tmp/difference; then
        failures=$((failures + 1))
        echo "FAILED: xl $*: status $one with Debian's, $two with ours"
        cat /tmp/difference
        head -n 3 /tmp/debian.errors /tmp/ours.errors
    fi
}
for words in list 'list tiny' 'list -v' 'list -c' 'list -n' 'list -Z' vm-list vcpu-list 'vcpu-list tiny' uptime 'uptime -s' claims info 'info -n' \
    sched-credit2 'sched-credit2 -d tiny' 'sched-credit2 -s' cpupool-list 'cpupool-list -c' 'block-list tiny' 'network-list tiny' \
    'domid tiny' 'domname 1' 'list nope' 'domid nope' 'domname 77' 'vm-list' 'help nonsense'; do
    same $words
done
# A size without a unit, and what is out of bounds.
for words in 'mem-set tiny 16' 'mem-max tiny 32' 'mem-set tiny 9999' 'mem-set tiny x' 'mem-max tiny 8' 'vcpu-set tiny 99' 'vcpu-set tiny 1' \
    'vcpu-pin tiny 9 all' 'vcpu-pin tiny all all' 'vcpu-pin tiny 0 99' 'vcpu-pin tiny 0 -' 'block-detach tiny xvdz' 'network-detach tiny 9' \
    'trigger tiny foo' 'sysrq tiny xx' 'destroy 0' 'domname x' 'cpupool-destroy Pool-0' 'cpupool-rename nope x' 'cpupool-migrate tiny nope' \
    'cpupool-cpu-add nope 0' 'cpupool-destroy nope' 'cpupool-list nope' 'create /nofile' create nonsense '' 'create -n /root/tiny.cfg' \
    debug-keys 'dmesg -x' 'list --nope' pause 'config-update nope /root/tiny.cfg'; do
    code $words
done
[ "$(xenstore-read /local/domain/1/memory/target /local/domain/1/memory/static-max | tr '\n' ' ')" = "16384 32768 " ] || { echo "FAILED: sizes"; failures=$((failures + 1)); }
for command in pause unpause destroy shutdown reboot console 'sched-credit2 -d' block-list network-list; do code $command nope; done
for command in 'rename nope x' 'sysrq nope x' 'trigger nope nmi' 'mem-set nope 5' 'mem-max nope 5' 'vcpu-set nope 1' 'vcpu-pin nope 0 all' \
    'block-detach nope xvda' 'network-detach nope 0' 'dump-core nope /tmp/core'; do code $command; done
# What only ours has: JSON of all that is listed, completions, manual pages.
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
for words in list 'list -l' 'list tiny' vm-list vcpu-list uptime claims info 'info -n' sched-credit2 'sched-credit2 -d tiny' cpupool-list \
    'block-list tiny' 'network-list tiny' 'domid tiny' 'domname 1' dmesg reconcile 'create -n /root/tiny.cfg'; do
    /usr/local/bin/xl --json $words 2> /tmp/ours.errors | python3 -c 'import json, sys; json.load(sys.stdin)' 2> /tmp/difference ||
        fail "xl --json $words: $(tail -n 1 /tmp/difference; cat /tmp/ours.errors)"
done
/usr/local/bin/xl --json domid nope 2>&1 | python3 -c 'import json, sys; json.load(sys.stdin)["error"]' || fail "an error in JSON"
/usr/local/bin/xl completions bash | bash -n || fail "completions"
/usr/local/bin/xl manual-pages /tmp/pages && [ -s /tmp/pages/xl-create.1 ] || fail "manual pages: $(ls /tmp/pages | head -n 5)"
# The live view, for as long as somebody looks.
timeout 3 script -qc '/usr/local/bin/xl top' /dev/null > /tmp/ours 2>&1 < /dev/null
grep -q tiny /tmp/ours || fail "xl top: $(head -c 500 /tmp/ours)"
/usr/sbin/xl destroy tiny
echo "$compared commands compared"
exit $failures
