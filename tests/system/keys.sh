#!/bin/sh
# Ctrl-a three times gives the keyboard to the hypervisor, whose keys answer on the console; three times again
# gives it back to domain 0.
# expect-console: Serial input to Xen
# expect-console: showing installed handlers
# expect-console: reboot machine
# expect-console: 'q' pressed
# expect-console: Serial input to DOM0
stty -F /dev/hvc0 -echo
type_keys() { host-keys "$(printf "$1")"; sleep 1; }
type_keys '\001\001\001'
type_keys 'h'
type_keys 'q'
type_keys '\001\001\001'
(sleep 3; host-keys back; host-keys "$(printf 'here\r')") &
IFS= read -r -t 20 line < /dev/hvc0
echo "read from the console: '$line'"
[ "$line" = backhere ]
