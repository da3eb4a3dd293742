# Domains without xenstore: hostile ones beside domain 0, and many made and destroyed, some half way.
# expect-console: domain crashed: a trap frame cannot be written to its stack
# expect-console: domain crashed: iret: the return frame cannot be read
# expect-console: domain crashed: switch to user mode without a user page table
# expect-console: destroyed
set -e
domain-test run /guests/guest_hello
domain-test run /guests/guest_unprivileged
domain-test crash /guests/guest_traps 0 24
domain-test cycles "${CYCLES:-100}" /guests/guest_hello
