# Everything a person types. `make help` lists it.

PYTHON ?= python3
CARGO := $(or $(shell command -v cargo),$(or $(CARGO_HOME),$(HOME)/.cargo)/bin/cargo)
TARGET := $(or $(CARGO_TARGET_DIR),target)

ifdef LIBTORCH
override LIBTORCH := $(abspath $(LIBTORCH))
export LIBTORCH
else
unexport LIBTORCH
endif
export CARGO

.PHONY: help setup build run test test-cuda bench lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: ## libtorch and the default encoder (CUDA=1 or 0 decides by hand; LIBTORCH=/path uses yours)
	@$(PYTHON) scripts/setup.py $(if $(CUDA),--cuda '$(CUDA)')

build: setup ## the program, as target/release/covalign
	@$(CARGO) build --release

run: build ## train on the demonstration set, or with DATA=dir on your GLUE folder
ifdef DATA
	@$(TARGET)/release/covalign train configs/glue-small.yaml --set data='$(DATA)'
else
	@$(PYTHON) scripts/make_demo.py data/demo
	@$(TARGET)/release/covalign train configs/demo.yaml
endif

test: setup ## every test
	@$(PYTHON) -m unittest discover -s tests
	@$(PYTHON) scripts/with_tensorboard.py $(CARGO) test --release

test-cuda: ## CUDA's control flow, without a GPU; where there is one, also its numbers beside the CPU's
	@$(MAKE) --no-print-directory setup CUDA=1
	@$(CARGO) test --release --test stand_in --test cuda_kernels
	@if [ -e /proc/driver/nvidia/version ] || [ -e /dev/dxg ]; then \
	  $(CARGO) test --release --test cuda -- --ignored --test-threads=1; \
	else echo 'no NVIDIA driver: what CUDA computes is not compared'; fi

bench: build ## an epoch beside transformers, DATA=dir is your GLUE folder (5 GB of PyTorch the first time)
	@$(PYTHON) scripts/bench_vs_transformers.py --data '$(or $(DATA),data/glue)' --rows 400

lint: setup ## formatting and clippy
	@$(CARGO) fmt --check
	@$(CARGO) clippy --release --all-targets -- -D warnings

clean: ## what the build made; libtorch, encoders and runs stay
	@$(CARGO) clean
