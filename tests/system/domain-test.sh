# Domains without xenstore: a hostile one beside domain 0, and many made and destroyed, some half way.
# expect-console: destroyed
set -e
domain-test run /guests/guest_hello
domain-test run /guests/guest_unprivileged
domain-test cycles "${CYCLES:-100}" /guests/guest_hello
