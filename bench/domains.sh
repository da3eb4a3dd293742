#!/bin/bash
# What managing domains costs: run by `cargo xtask bench domains`, in domain 0, with $XL as the command.
export PATH=/usr/local/bin:$PATH
. /bench/settings
status=0
measured() { /bench/measured "$@" || status=1; }
quietly() { "$@" > /tmp/out 2>&1 || { echo "$*: $(cat /tmp/out)"; status=1; }; }
guest() { printf "name='%s'\nmemory=%s\nkernel='/guest/hello'\n" "$1" "$2" > "/tmp/$1.cfg"; }
for number in 1 2 3 4 5 6 7 8 9 10; do
    guest "g$number" 16
done
# While domain 0 waits for its disk nothing is executed but what else there is to do: what is needed is read before.
cat "$XL" /usr/local/bin/xenstored /usr/local/bin/xenconsoled /usr/sbin/*xenstored /usr/lib/xen*/bin/* /guest/* > /dev/null 2>&1
measured list_1 $XL list
measured create_16_first $XL create -p /tmp/g1.cfg
measured create_16_second $XL create -p /tmp/g2.cfg
for number in 3 4 5 6 7 8 9; do quietly $XL create -p /tmp/g$number.cfg; done
measured create_16_tenth $XL create -p /tmp/g10.cfg
measured destroy_16 $XL destroy g10
for number in 1 2 3 4 5 6 7 8 9; do quietly $XL destroy g$number; done
sed -i 's/^memory.*/memory = 128/' /guest/guest.cfg
measured create_debian_first $XL create -p /guest/guest.cfg
quietly $XL destroy guest
measured create_debian_second $XL create -p /guest/guest.cfg
measured destroy_debian $XL destroy guest
exit $status
