#!/bin/bash
# Two domains with grant tables of version 2: one passes on what the other granted to it.
export PATH=/usr/local/bin:$PATH
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
guest() { printf "name='%s'\nmemory=16\nvcpus=1\nkernel='/guests/guest_grants'\nextra='%s'\nmax_grant_version=%s\n" "$1" "$2" "$3" > "/tmp/$1.cfg"; }
log() { cat "/var/log/xen/console/guest-$1.log" 2> /dev/null; }
wait_for() { for _ in $(seq 300); do log "$1" | grep -q "$2" && return; sleep 0.2; done; fail "no “$2” of $1: $(log "$1")"; }
free() { xl info | sed -n 's/^free_memory *: //p'; }

xl info | grep '^virt_caps' | grep -q gnttab-v2 || fail "$(xl info | grep virt_caps)"
before=$(free)
# The second domain gets the number after the first one's.
guest passer 'peer=2 passes=1' 2
guest lender 'peer=1' 2
xl create /tmp/passer.cfg || fail "the first"
wait_for passer 'passes on'
xl create /tmp/lender.cfg || fail "the second"
wait_for lender 'GUEST PASS'
xl destroy passer || fail "destroy"
for _ in $(seq 100); do [ "$(xl list | wc -l)" = 2 ] && break; sleep 0.2; done
# One that may have version 1 only.
guest limited 'limited=1' 1
xl create /tmp/limited.cfg || fail "the third"
wait_for limited 'GUEST PASS'
for _ in $(seq 50); do [ "$(xl list | wc -l)" = 2 ] && [ "$(free)" -ge "$before" ] && break; sleep 0.2; done
[ "$(free)" -ge "$before" ] || fail "$(free) MiB are free, where $before were"
[ $failures = 0 ] && echo "all well"
exit $failures
