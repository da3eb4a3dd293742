# A thin front to `cargo xtask`, which does the work; see `cargo xtask --help`.

XTASK := cargo xtask

world:    | toolchain ; $(XTASK) world
run:      | toolchain ; $(XTASK) run
test:     | toolchain ; $(XTASK) test
check:    | toolchain ; $(XTASK) check
iso:      | toolchain ; $(XTASK) iso
bench:    | toolchain ; $(XTASK) bench $(if $(QUICK),--quick)
install:  | toolchain ; $(XTASK) install "$(DESTDIR)"
clean:                ; cargo clean

# What cargo itself needs before it can build anything: the pinned toolchain, and a linker.
toolchain:
	@command -v rustup >/dev/null || { echo 'Xenolith needs rustup, to get the Rust toolchain that it pins' >&2; exit 1; }
	@rustup show active-toolchain >/dev/null 2>&1 || { echo 'installing the pinned Rust toolchain'; rustup toolchain install; }
	@command -v cc >/dev/null || { echo 'installing gcc, for its linker'; \
	  $$([ "$$(id -u)" = 0 ] || echo sudo) sh -c 'apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev'; }

.PHONY: world run test check iso bench install clean toolchain
