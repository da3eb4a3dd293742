#!/bin/bash
# Processors as tools see them: affinity, vCPUs that domain 0 takes from a guest and from itself through xenstore, weights,
# caps, pools of CPUs with schedulers of their own, the machine's CPUs off and on. Runs on Debian's Xen as well.
export PATH=/usr/local/bin:$PATH:/usr/lib/xen-4.17/bin
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
check() { "$@" > /tmp/output 2>&1 || fail "$*: status $?: $(cat /tmp/output)"; }
refused() { ! "$@" > /tmp/output 2>&1 || fail "$*: is not refused"; }
# `says TEXT COMMAND…`: its output has the text, spaces being any number of them
says() { local text=$1; shift; "$@" 2>&1 | tr -s ' ' > /tmp/output; grep -qF -- "$text" /tmp/output || fail "$*: no “$text” in: $(cat /tmp/output)"; }
wait_for() { for _ in $(seq 120); do eval "$1" && return; sleep 0.5; done; fail "never: $1"; }
offline() { xl vcpu-list guest | grep -c -- '--p'; }

cpus=$(nproc)
[ "$cpus" = 4 ] || fail "$cpus CPUs"
check xl vcpu-set Domain-0 2
wait_for '[ "$(nproc)" = 2 ]'
check xl vcpu-set Domain-0 4
# The kernel makes them present; it is for udev, elsewhere, to put them on line.
wait_for 'for cpu in /sys/devices/system/cpu/cpu[1-9]*; do [ "$(cat $cpu/online)" = 1 ] || echo 1 > $cpu/online; done 2> /dev/null; [ "$(nproc)" = 4 ]'
check xl vcpu-pin Domain-0 3 1
says 'Domain-0 0 3 1' xl vcpu-list Domain-0
says '1 / all' xl vcpu-list Domain-0
check xl vcpu-pin Domain-0 3 all 0-1
says 'all / 0-1' xl vcpu-list Domain-0
check xl vcpu-pin Domain-0 3 all all
refused xl vcpu-pin Domain-0 3 77

sed -i 's/^vcpus.*/vcpus = 4/' /guest/guest.cfg
check xl create /guest/guest.cfg
wait_for '[ "$(xl vcpu-list guest | grep -c "^guest")" = 4 ] && [ "$(offline)" = 0 ]'
# The guest's kernel looks at xenstore once it is up.
sleep 15
check xl vcpu-set guest 2
wait_for '[ "$(offline)" = 2 ]'
check xl vcpu-set guest 3
check xl vcpu-set guest 1
wait_for '[ "$(offline)" = 3 ]'
refused xl vcpu-set guest 9

check xl sched-credit2 -d guest -w 512 -c 50
says 'guest 1 512 50' xl sched-credit2 -d guest
check xl sched-credit2 -s -r 2000
says 'ratelimit=2000us' xl sched-credit2 -s
refused xl sched-credit2 -d guest -w 70000

refused xl cpupool-create 'name="other"' 'sched="credit2"' 'cpus="2-3"'
check xl cpupool-cpu-remove Pool-0 2-3
check xl cpupool-create 'name="other"' 'sched="credit2"' 'cpus="2-3"'
check xl cpupool-migrate guest other
says 'other 2 credit2 y 1' xl cpupool-list
wait_for 'xl vcpu-list guest | grep -q "^guest *1 *0 *[23] "'
refused xl cpupool-destroy other
check xl cpupool-migrate guest Pool-0
check xl cpupool-destroy other
for scheduler in null $OTHER_SCHEDULERS; do
    check xl cpupool-create "name=\"$scheduler\"" "sched=\"$scheduler\"" 'cpus="3"'
    says "$scheduler 1 $scheduler y 0" xl cpupool-list
    if [ $scheduler = null ]; then
        # It says hello, and is gone.
        printf 'name="hello"\nmemory=16\nkernel="/guest/hello"\npool="null"\n' > /tmp/hello.cfg
        check xl create /tmp/hello.cfg
        wait_for '! xl domid hello > /dev/null 2>&1'
    fi
    check xl cpupool-destroy $scheduler
done
check xl cpupool-cpu-add Pool-0 2-3
says 'Pool-0 4 credit2' xl cpupool-list
check xl destroy guest

for _ in 1 2 3; do
    check xen-hptool cpu-offline 3
    says 'Pool-0 3 credit2' xl cpupool-list
    check xen-hptool cpu-online 3
    wait_for 'xl cpupool-list | tr -s " " | grep -q "Pool-0 4 credit2"'
done
problems=$(dmesg | grep -E 'BUG:|WARNING:|Oops|soft lockup|rcu.*stall')
[ -z "$problems" ] || fail "the kernel complains: $problems"
[ $failures = 0 ] && echo "all as it should be"
exit $failures
