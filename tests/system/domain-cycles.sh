#!/bin/bash
# Domains made and ended again and again, some crashed, some killed while they are made: memory, nodes, records, loop
# devices, ports and the daemons' descriptors end where they began. 1,000 cycles: CYCLES=1000 in /root/cycles.
export PATH=/usr/local/bin:$PATH
CYCLES=30
[ -e /root/cycles ] && . /root/cycles
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
free_mib() { xl info | sed -n 's/^free_memory *: //p'; }
nodes() { xenstore-ls -f | grep -vc '^/local/domain/0'; }
descriptors() { for process in /proc/[0-9]*; do
    case $(cat $process/comm 2> /dev/null) in
        xenstored | oxenstored | xenconsoled) ls $process/fd | wc -l ;;
    esac
done | awk '{ sum += $1 } END { print sum + 0 }'; }
cat > /root/tiny.cfg <<'CONFIG'
name = "tiny"
kernel = "/guest/hello"
memory = 16
CONFIG
truncate -s 4M /root/tiny.img
# The first leaves what is only made once: modules, the monitor.
xl create -p /root/tiny.cfg 'disk=["/root/tiny.img,raw,xvda"]' > /dev/null || fail "the first"
xl destroy tiny || fail "the first's end"
free_before=$(free_mib) nodes_before=$(nodes) descriptors_before=$(descriptors)
for ((cycle = 0; cycle < CYCLES; cycle++)); do
    case $((cycle % 10)) in
        3)  # killed while it is made
            xl create -p /root/tiny.cfg 'disk=["/root/tiny.img,raw,xvda"]' > /dev/null 2>&1 &
            victim=$!
            sleep 0.$(((cycle * 7) % 40 / 10))$((cycle % 10))
            kill -9 $victim 2> /dev/null
            wait $victim 2> /dev/null
            xl reconcile > /dev/null || fail "cycle $cycle: reconcile"
            # It may have been fast enough.
            xl destroy tiny > /dev/null 2>&1
            continue
            ;;
        6)  # crashed
            xl create -p /root/tiny.cfg 'on_crash="preserve"' > /dev/null || { fail "cycle $cycle: create"; continue; }
            xl trigger tiny nmi
            xl unpause tiny
            sleep 0.2
            ;;
        *)  xl create -p /root/tiny.cfg > /dev/null || { fail "cycle $cycle: create"; continue; } ;;
    esac
    # One that powered off by itself is gone already.
    xl destroy tiny > /dev/null 2>&1
    xl list tiny > /dev/null 2>&1 && fail "cycle $cycle: it is still there"
done
sleep 2
xl reconcile > /tmp/reconciled
[ "$(free_mib)" -ge $((free_before - 1)) ] || fail "memory: $free_before MiB free before, $(free_mib) after"
[ "$(nodes)" = "$nodes_before" ] || fail "nodes: $(xenstore-ls -f | grep -v '^/local/domain/0')"
[ "$(descriptors)" = "$descriptors_before" ] || fail "descriptors of daemons: $descriptors_before before, $(descriptors) after"
[ -z "$(losetup -a)" ] || fail "loop devices: $(losetup -a)"
[ -z "$(ls /run/xenolith/domains /run/xenolith/names | grep -v :)" ] || fail "records: $(ls /run/xenolith/*)"
[ $failures = 0 ] && echo "$CYCLES cycles, all as before"
exit $failures
