#!/bin/bash
# What managing domains costs: run by `cargo xtask bench domains`, in domain 0, with $XL as the command.
export PATH=/usr/local/bin:$PATH
. /root/bench-settings
timed() { /root/operation_timer "$@" 2>> /tmp/errors; }
quietly() { "$@" > /dev/null 2>> /tmp/errors || echo "$*: status $?" >> /tmp/errors; }
guest() { printf "name='%s'\nmemory=%s\nkernel='/guest/hello'\n" "$1" "$2" > "/tmp/$1.cfg"; }
for number in 1 2 3 4 5 6 7 8 9 10; do
    guest "g$number" 16
done
# While domain 0 waits for its disk the clock goes on and nothing is executed: what is needed is read before.
cat "$XL" /usr/local/bin/xenstored /usr/local/bin/xenconsoled /usr/sbin/*xenstored /usr/lib/xen*/bin/* /guest/* > /dev/null 2>&1
timed list_1 $XL list > /tmp/out; grep FIGURE /tmp/out
timed create_16_first $XL create -p /tmp/g1.cfg > /tmp/out; grep FIGURE /tmp/out
timed create_16_second $XL create -p /tmp/g2.cfg > /tmp/out; grep FIGURE /tmp/out
for number in 3 4 5 6 7 8 9; do quietly $XL create -p /tmp/g$number.cfg; done
timed create_16_tenth $XL create -p /tmp/g10.cfg > /tmp/out; grep FIGURE /tmp/out
timed destroy_16 $XL destroy g10 > /tmp/out; grep FIGURE /tmp/out
for number in 1 2 3 4 5 6 7 8 9; do quietly $XL destroy g$number; done
sed -i 's/^memory.*/memory = 128/' /guest/guest.cfg
timed create_debian_first $XL create -p /guest/guest.cfg > /tmp/out; grep FIGURE /tmp/out
quietly $XL destroy guest
timed create_debian_second $XL create -p /guest/guest.cfg > /tmp/out; grep FIGURE /tmp/out
timed destroy_debian $XL destroy guest > /tmp/out; grep FIGURE /tmp/out
sed "/^Parsing config from/d" /tmp/errors
