#!/bin/sh
# CPUs go and come during a load: domain 0's virtual ones ROUNDS times each, and in between the machine's own.
ROUNDS=${ROUNDS:-${FULL:+100}}
ROUNDS=${ROUNDS:-10}
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
cpus=$(nproc)
[ "$cpus" -ge 2 ] || fail "there is one CPU"
(
    while [ ! -e /tmp/stop ]; do
        for _ in 1 2 3 4; do (/bin/true; /bin/true) & done
        wait
        echo >> /tmp/turns
    done
) &
load=$!
set_online() {
    echo "$2" > "$1/online" || fail "$1 does not go to $2"
    # The kernel looks at the machine's CPUs in the background.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(cat "$1/online")" = "$2" ] && return
        sleep 0.2
    done
    fail "$1 is not $2"
}
round=0
while [ $round -lt "$ROUNDS" ]; do
    for cpu in /sys/devices/system/cpu/cpu[1-9]*; do set_online "$cpu" 0; done
    [ "$(nproc)" = 1 ] || fail "$(nproc) CPUs are left in round $round"
    for cpu in /sys/devices/system/cpu/cpu[1-9]*; do set_online "$cpu" 1; done
    [ "$(nproc)" = "$cpus" ] || fail "$(nproc) CPUs are back in round $round"
    for cpu in /sys/devices/system/xen_cpu/xen_cpu[1-9]*; do
        [ -e "$cpu/online" ] || continue
        set_online "$cpu" 0
        set_online "$cpu" 1
    done
    round=$((round + 1))
done
touch /tmp/stop
wait $load
echo "$round rounds, $(wc -l < /tmp/turns) turns of the load, machine's CPUs: $(ls /sys/devices/system/xen_cpu 2>/dev/null | grep -c '^xen_cpu[0-9]')"
# While all of the machine's CPUs but one are gone, all of domain 0's run on it.
for cpu in /sys/devices/system/xen_cpu/xen_cpu[1-9]*; do [ -e "$cpu/online" ] && set_online "$cpu" 0; done
for _ in 1 2 3 4 5 6; do (/bin/true; /bin/true) & done
wait
for cpu in /sys/devices/system/xen_cpu/xen_cpu[1-9]*; do [ -e "$cpu/online" ] && set_online "$cpu" 1; done
problems=$(dmesg | grep -E 'BUG:|WARNING: CPU|Oops|soft lockup|hung task|rcu.*stall')
[ -z "$problems" ] || fail "the kernel complains: $problems"
[ $failures = 0 ] && echo "all well"
exit $failures
