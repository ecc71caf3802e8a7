# What there is to make. Each target installs what it misses (Debian 12; Swift 6.3 must be there).

BINARY := .build-static/release/valija
IMAGE ?= valija

.PHONY: run test unit static endtoend image bench format fuzz clean

# Builds, and serves examples/quickstart.yaml on loopback ports above 1024.
run: static
	@scripts/quickstart $(BINARY)

# Every test that needs no container.
test: unit endtoend

unit:
	@scripts/install build
	@scripts/build debug
	@scripts/unit

static:
	@scripts/install build
	@scripts/build static

endtoend: static
	@scripts/install test
	Tests/EndToEnd/run

image:
	DOCKER_BUILDKIT=1 docker build $(DOCKER_FLAGS) -t $(IMAGE) .

# Against Debian's Postfix, same machine, same run. Needs root: Postfix does.
bench: static
	@scripts/install test
	Benchmarks/run

format:
	swift format --in-place --parallel --recursive Package.swift Sources Tests

fuzz:
	@scripts/install build
	Fuzz/run

clean:
	rm -rf .build .build-static
