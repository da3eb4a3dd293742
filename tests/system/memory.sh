#!/bin/sh
# dom0_mem is what domain 0 gets: not less (but for what its kernel keeps, 64 MiB of it for bounce buffers), not
# more; and all of it works.
total=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
echo "MemTotal $total KiB of $((300 * 1024))"
[ "$total" -le $((300 * 1024)) ] || exit 1
[ "$total" -ge $((170 * 1024)) ] || exit 1
mount -o remount,size=100% /tmp
free=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
count=$(((free - 16384) / 1024))
dd if=/dev/urandom of=/tmp/seed bs=65536 count=16 2>/dev/null
number=0
while [ $number -lt $count ]; do
    cat /tmp/seed || exit 1
    number=$((number + 1))
done > /tmp/all
echo "$count MiB filled"
sum=$(sha1sum < /tmp/seed)
number=0
while [ $number -lt $count ]; do
    [ "$(dd if=/tmp/all bs=1M skip=$number count=1 2>/dev/null | sha1sum)" = "$sum" ] || { echo "MiB $number differs"; exit 1; }
    number=$((number + 8))
done
