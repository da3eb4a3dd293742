#!/bin/bash
# What domains cost the more there are: run by `cargo xtask bench many`, in domain 0, with $XL as the command. Domains of 4 MiB that
# wait for ever; beside them one of 16 MiB is made and ended.
export PATH=/usr/local/bin:$PATH
. /bench/settings
status=0
failed() { echo "$*: $(tail -n 3 /tmp/out /var/log/xen/xl-*.log)"; exit 1; }
measured() { /bench/measured "$@" || status=1; }
quietly() { "$@" > /tmp/out 2>&1 || failed "$*"; }
guest() { printf "name='%s'\nmemory=%s\nkernel='%s'\nextra='%s'\n" "$1" "$2" "$3" "$4" > "/tmp/$1.cfg"; }
free() { $XL info | sed -n 's/^free_memory *: *//p'; }
SECONDS_IDLE=10

# While domain 0 waits for its disk nothing is executed but what else there is to do: what is needed is read before.
cat "$XL" /usr/local/bin/xen* /usr/sbin/*xenstored /usr/lib/xen*/bin/* /guest/* > /dev/null 2>&1
echo "VALUE total $($XL info | sed -n 's/^total_memory *: *//p')"
echo "VALUE free_0 $(free)"
# The kernel has things to do some seconds after its start.
sleep 60
measured "idle_0:$SECONDS_IDLE" sleep $SECONDS_IDLE
# Debian, as long as there is nothing else.
quietly $XL create /guest/guest.cfg
log=/var/log/xen/console/guest-guest.log
for ((tries = 0; tries < 60; tries++)); do
    grep -q 'guest: up' $log && break
    sleep 1
done
grep -q 'guest: up' $log || failed "Linux did not start"
sleep 60
measured "idle_linux:$SECONDS_IDLE" sleep $SECONDS_IDLE
quietly $XL destroy guest
guest small 16 /guest/hello
# Once for what is made only once.
quietly $XL create -p /tmp/small.cfg
quietly $XL destroy small
there=0
for count in $COUNTS; do
    while [ $there -lt $count ]; do
        there=$((there + 1))
        guest "idle$there" 4 /guest/hello wait=1
        quietly $XL create "/tmp/idle$there.cfg"
    done
    # Consoles are read, and what was freed is cleaned.
    sleep 5
    echo "VALUE free_$count $(free)"
    measured "create_$count" $XL create -p /tmp/small.cfg
    measured "list_$count" $XL list
    measured "destroy_$count" $XL destroy small
    sleep 5
    measured "idle_$count:$SECONDS_IDLE" sleep $SECONDS_IDLE
done
[ "$($XL list | wc -l)" = $((there + 2)) ] || failed "$there domains are not all there: $($XL list)"
exit $status
