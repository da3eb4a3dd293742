#!/bin/bash
# Debian's stress-ng on all of domain 0's CPUs: arithmetic, memory, processes, switches, mappings, futexes and pipes;
# meanwhile all vCPUs but the first go and come. Of the environment, which `--kernel-args` sets: STRESS_SECONDS, how
# long; HOTPLUGS, how often; CPUS, how many CPUs there have to be. With FULL=1 three minutes, and a hundred times.
seconds=${STRESS_SECONDS:-${FULL:+180}}
seconds=${seconds:-20}
hotplugs=${HOTPLUGS:-${FULL:+100}}
hotplugs=${hotplugs:-3}
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
cpus=$(nproc)
[ "$cpus" = "${CPUS:-$cpus}" ] || fail "there are $cpus CPUs, not $CPUS"
[ "$cpus" -gt 1 ] || hotplugs=0
echo "$(uname -r), $cpus CPUs, $seconds s, $hotplugs rounds of hotplug"
stress-ng --cpu "$cpus" --vm 2 --vm-bytes 64M --fork 2 --switch 2 --mmap 2 --mmap-bytes 32M --futex 2 --pipe 2 \
    --verify --metrics-brief --timeout 1h > /tmp/stress 2>&1 &
load=$!
start=$(cut -d. -f1 /proc/uptime)
# Workers of stress-ng read what caches CPUs have when they begin. If a CPU goes just then they crash: on an error of read()
# (ENODEV is 19) it puts a zero 19 bytes before its buffer, into a pointer. On the bare machine they do the same.
sleep 10
round=0
while [ $round -lt "$hotplugs" ]; do
    for to in 0 1; do
        for cpu in /sys/devices/system/cpu/cpu[1-9]*; do
            echo $to > "$cpu/online" || fail "$cpu does not go to $to in round $round"
        done
    done
    [ "$(nproc)" = "$cpus" ] || fail "$(nproc) CPUs are back in round $round"
    round=$((round + 1))
done
echo "CPUs went and came $round times after $(cut -d. -f1 /proc/uptime) s"
while [ $(($(cut -d. -f1 /proc/uptime) - start)) -lt "$seconds" ]; do
    kill -0 $load || break
    sleep 1
done
echo "the load ran for $(($(cut -d. -f1 /proc/uptime) - start)) s"
kill -INT $load
wait $load || fail "stress-ng: status $?"
cat /tmp/stress
grep -q 'successful run completed' /tmp/stress || fail "stress-ng did not complete"
# A worker that ends before its time because of what it found is no failure to stress-ng itself.
! grep -E 'fail:|skipped: [^0]|unsuccessful' /tmp/stress || fail "stress-ng complains"
problems=$(dmesg | grep -E 'BUG:|WARNING:|Oops|soft lockup|hung task|rcu.*(stall|starved)|general protection|segfault')
[ -z "$problems" ] || fail "the kernel complains: $problems"
[ $failures = 0 ] && echo "all well"
exit $failures
