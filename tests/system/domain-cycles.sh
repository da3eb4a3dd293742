#!/bin/bash
# Domains made and ended again and again, a tenth crashed, a tenth killed while they are made: free memory, grants, ports,
# nodes, records, loop devices, and the daemons' descriptors and memory end where they began. 1,000 cycles: CYCLES=1000
# in /root/cycles, or with `--kernel-args CYCLES=1000`.
export PATH=/usr/local/bin:$PATH
CYCLES=${CYCLES:-30}
[ -e /root/cycles ] && . /root/cycles
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
nodes() { xenstore-ls -f | grep -vc '^/local/domain/0'; }
# The audit of the hypervisor counts everything anew: "1 domains, 524272 frames (204806 in use), 1049 tables with
# 153470 entries, 0 grants, 61 ports in 19000 us: balanced".
audit() { xl debug-keys B; sleep 1; xl dmesg | sed -n 's/.*audit: //p' | tail -n 1; }
of_audit() { sed "s/.*[ (]\([0-9]*\) $1.*/\1/" <<< " $2"; }
daemons() { for process in /proc/[0-9]*; do
    case $(tr '\0' ' ' 2> /dev/null < $process/cmdline) in
        *xenstored* | *xenconsoled* | *"xl monitor"*) echo "${process#/proc/}" ;;
    esac
done; }
descriptors() { for process in $(daemons); do ls /proc/$process/fd | wc -l; done | awk '{ sum += $1 } END { print sum + 0 }'; }
resident() { for process in $(daemons); do cat /proc/$process/status; done | awk '/^VmRSS/ { sum += $2 } END { print sum + 0 }'; }
cat > /root/tiny.cfg <<'CONFIG'
name = "tiny"
kernel = "/guest/hello"
memory = 16
CONFIG
truncate -s 4M /root/tiny.img
disk='disk=["/root/tiny.img,raw,xvda"]'
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
# The first ones leave what is only made once: modules, the monitor, pages of the daemons.
longest=1
for ((cycle = 0; cycle < 5; cycle++)); do
    began=$(milliseconds)
    xl create -p /root/tiny.cfg "$disk" > /dev/null || fail "the first"
    longest=$(($(milliseconds) - began))
    xl destroy tiny || fail "the first's end"
done
sleep 1
audit_before=$(audit) nodes_before=$(nodes) descriptors_before=$(descriptors) resident_before=$(resident)
echo "before: $audit_before; $nodes_before nodes, $descriptors_before descriptors, $resident_before KiB of daemons; a creation takes $longest ms"
RANDOM=1 crashed=0 killed=0 unfinished=0
for ((cycle = 0; cycle < CYCLES; cycle++)); do
    case $((cycle % 10)) in
        3)  # killed while it is made, at any moment
            killed=$((killed + 1))
            xl create -p /root/tiny.cfg "$disk" > /dev/null 2>&1 &
            victim=$!
            sleep "$(printf '%d.%03d' $((RANDOM % longest / 1000)) $((RANDOM % longest % 1000)))"
            kill -9 $victim 2> /dev/null
            wait $victim 2> /dev/null
            xl reconcile > /tmp/reconciled || fail "cycle $cycle: reconcile"
            [ -s /tmp/reconciled ] && unfinished=$((unfinished + 1))
            # It may have been fast enough.
            xl destroy tiny > /dev/null 2>&1
            continue
            ;;
        6)  # crashed
            crashed=$((crashed + 1))
            xl create /root/tiny.cfg 'on_crash="preserve"' 'extra="crash=1"' > /dev/null || { fail "cycle $cycle: create"; continue; }
            for ((left = 100; left > 0; left--)); do
                case $(xl list tiny) in *sc-*) break ;; esac
                sleep 0.1
            done
            [ $left -gt 0 ] || fail "cycle $cycle: no crash: $(xl list)"
            ;;
        *)  xl create -p /root/tiny.cfg > /dev/null || { fail "cycle $cycle: create"; continue; } ;;
    esac
    xl destroy tiny || fail "cycle $cycle: destroy"
    xl list tiny > /dev/null 2>&1 && fail "cycle $cycle: it is still there"
    [ $((cycle % 100)) = 99 ] && echo "$((cycle + 1)) cycles in $(cut -d. -f1 /proc/uptime) s: $(resident) KiB of daemons"
done
sleep 2
xl reconcile > /tmp/reconciled
[ -s /tmp/reconciled ] && fail "left: $(cat /tmp/reconciled)"
audit_after=$(audit) nodes_after=$(nodes) descriptors_after=$(descriptors) resident_after=$(resident)
echo "after: $audit_after; $nodes_after nodes, $descriptors_after descriptors, $resident_after KiB of daemons"
for what in domains 'in use' grants ports; do
    [ "$(of_audit "$what" "$audit_after")" = "$(of_audit "$what" "$audit_before")" ] || fail "$what: $audit_before; $audit_after"
done
case $audit_after in *": balanced") ;; *) fail "the audit: $audit_after" ;; esac
[ "$nodes_after" = "$nodes_before" ] || fail "nodes: $(xenstore-ls -f | grep -v '^/local/domain/0')"
[ "$descriptors_after" = "$descriptors_before" ] || fail "descriptors of daemons"
# An allocator may keep some pages more than it had.
[ "$resident_after" -le $((resident_before + 1024)) ] || fail "memory of daemons"
[ -z "$(losetup -a)" ] || fail "loop devices: $(losetup -a)"
[ -z "$(ls /run/xenolith/domains /run/xenolith/names | grep -v :)" ] || fail "records: $(ls /run/xenolith/*)"
# Of a few, all may have been quick enough.
[ "$killed" -lt 30 ] || [ $unfinished -gt 0 ] || fail "none of $killed was killed before it was done"
[ $failures = 0 ] && echo "$CYCLES cycles, $crashed crashed, $killed killed ($unfinished before they were done): all as before"
exit $failures
