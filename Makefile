# Everything here works on a fresh Debian or Ubuntu; `make` alone tells what there is.

PREFIX ?= /usr/local
DESTDIR ?=
# bcc comes from the distribution, for the distribution's own Python.
PYTHON := /usr/bin/python3
KERNELS ?= 5.10 6.1 6.12

MACHINES := machine-of-most machine-of-the-rest
VENV := .venv
PYTEST := $(PYTHON) -B -m pytest -p no:cacheprovider

LIB := $(DESTDIR)$(PREFIX)/lib/tcp-trace
PACKAGE := $(LIB)/tcp_trace
LAUNCHER := $(DESTDIR)$(PREFIX)/bin/tcp-trace
# systemd looks below /usr/lib and /usr/local/lib by itself, which leaves /etc to the administrator;
# units of any other prefix are found in /etc only.
ifneq ($(filter /usr /usr/local,$(PREFIX)),)
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system
else
UNITS := $(DESTDIR)/etc/systemd/system
endif
SYSUSERS := $(DESTDIR)/usr/lib/sysusers.d/tcp-trace.conf
DOC := $(DESTDIR)$(PREFIX)/share/doc/tcp-trace
LOGROTATE := $(DESTDIR)/etc/logrotate.d/tcp-trace
CONFIG := $(DESTDIR)/etc/tcp-trace
# Talk to systemd only where files go to their final place and systemd runs.
SYSTEMD := [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-kernels units faults kernel $(MACHINES) reliability lint format bench accuracy soak docs install uninstall purge

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.stamp ## Install packages (as root; else print how) and the tools for developers
	@tools/packages test

$(VENV)/.stamp: Makefile
	@tools/packages test
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-warn-conflicts \
		ruff==0.17.5 mypy==2.4.1 types-requests==2.33.0.20261030
	@touch $@

demo: ## See it work: real failures, a local webhook, nothing installed but packages
	@tools/packages demo
	@$(PYTHON) -I tcp_trace/__main__.py demo

# Tests mostly wait: for the kernel to give up, or for one CPU of an emulated machine. Side by side
# they take about half the time; more than three at once keep each other from being in time.
BESIDE = $(PYTHON) -B -m tests.beside

test: test-fast ## Run every test: on this host, then in two virtual machines
	@$(BESIDE) $(MACHINES)

test-fast: ## Run the tests that need no virtual machine
	@tools/packages test
	@$(BESIDE) units faults kernel

units:
	$(PYTEST) tests/unit tests/property tests/timelines

faults:
	$(PYTEST) tests/reliability

kernel:
	$(PYTEST) tests/kernel

machine-of-most:
	$(PYTEST) tests/vm -k most

machine-of-the-rest:
	$(PYTEST) tests/vm -k 'not most' --ignore=tests/vm/test_restart.py

reliability: ## Inject every fault for longer (200 kills), and write docs/RELIABILITY.md
	@tools/packages test
	TCP_TRACE_KILLS=200 TCP_TRACE_OUTAGE=60 $(PYTEST) tests/reliability tests/vm/test_restart.py \
		--reliability docs/RELIABILITY.md

test-kernels: ## Run the virtual machine's tests on each kernel of KERNELS
	@tools/packages test
	@set -e; for kernel in $(KERNELS); do \
		echo "== kernel $$kernel"; TCP_TRACE_VM_HOOKS=kprobe,tracepoint \
		TCP_TRACE_VM_KERNEL=$$kernel $(BESIDE) $(MACHINES); done

lint: $(VENV)/.stamp ## Check style, types, shell and C
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	shellcheck .ci/run tools/* $$(git ls-files '*.sh')
	clang-format --dry-run -Werror $$(git ls-files 'bpf/*.c' 'bpf/*.h')

format: $(VENV)/.stamp ## Format Python and C
	$(VENV)/bin/ruff check --fix-only
	$(VENV)/bin/ruff format
	clang-format -i $$(git ls-files 'bpf/*.c' 'bpf/*.h')

bench: ## Measure the cost beside that of others, and write benchmarks/RESULTS.md
	@tools/packages test
	$(PYTHON) -m benchmarks

accuracy: ## Run the matrix on each kernel of KERNELS, and write docs/ACCURACY.md
	@tools/packages test
	@set -e; for kernel in $(KERNELS); do \
		TCP_TRACE_VM_HOOKS=kprobe,tracepoint TCP_TRACE_ACCURACY=$(CURDIR)/docs/accuracy \
		$(PYTEST) tests/vm/test_kernel.py --vm-kernel=$$kernel; done
	$(PYTHON) -m tests.kernel.accuracy docs/accuracy > docs/ACCURACY.md

soak: ## Make 1,000,000 connects on this host, one in a hundred of which fails; the same page
	@tools/packages test
	TCP_TRACE_SOAK=1000000 TCP_TRACE_ACCURACY=$(CURDIR)/docs/accuracy \
		$(PYTEST) -s tests/kernel/test_soak.py
	$(PYTHON) -m tests.kernel.accuracy docs/accuracy > docs/ACCURACY.md

docs: ## Write the files that come from the table of variables
	$(PYTHON) -c 'from tcp_trace.settings.variables import example_file as e; print(e(), end="")' \
		> systemd/tcp-trace.env.example
	$(PYTHON) -m docs.tables

install: ## Install below PREFIX (/usr/local), with unit, user and logrotate; keeps configuration
	rm -rf "$(LIB)"
	install -d "$(LIB)" "$(dir $(LAUNCHER))" "$(UNITS)" "$(dir $(SYSUSERS))" \
		"$(dir $(LOGROTATE))"
	install -d -m 0755 "$(CONFIG)"
	umask 022 && cp -R tcp_trace "$(PACKAGE)" && cp -R bpf systemd logrotate "$(PACKAGE)/"
	find "$(LIB)" -name __pycache__ -prune -exec rm -rf {} +
	umask 022 && $(PYTHON) -I -m compileall -q $(if $(DESTDIR),-s "$(DESTDIR)") "$(PACKAGE)"
	chmod -R u=rwX,go=rX "$(LIB)"
	rm -rf "$(DOC)"
	install -d -m 0755 "$(DOC)/docs" "$(DOC)/systemd" "$(DOC)/benchmarks"
	install -m 0644 README.md CHANGELOG.md CONTRIBUTING.md LICENSE "$(DOC)/"
	install -m 0644 docs/*.md docs/*.json docs/*.png "$(DOC)/docs/"
	install -m 0644 benchmarks/*.md "$(DOC)/benchmarks/"
	sed -i 's|/usr/local/share/|$(PREFIX)/share/|' "$(PACKAGE)/systemd/routes.toml.example"
	install -m 0644 "$(PACKAGE)"/systemd/*.example "$(DOC)/systemd/"
	printf '%s\n' '#!$(PYTHON) -I' 'import sys' 'sys.path.insert(0, "$(PREFIX)/lib/tcp-trace")' \
		'from tcp_trace.commands.cli import main' 'raise SystemExit(main())' > "$(LAUNCHER)"
	chmod 0755 "$(LAUNCHER)"
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' systemd/tcp-trace.service > "$(UNITS)/tcp-trace.service"
	chmod 0644 "$(UNITS)/tcp-trace.service"
	install -m 0644 systemd/tcp-trace.sysusers.conf "$(SYSUSERS)"
	@if [ -e "$(LOGROTATE)" ] && ! cmp -s logrotate/tcp-trace "$(LOGROTATE)"; then \
		echo "kept: $(LOGROTATE), which was changed here"; \
	else install -m 0644 logrotate/tcp-trace "$(LOGROTATE)"; fi
	@if [ -z "$(DESTDIR)" ] && command -v systemd-sysusers >/dev/null; then \
		systemd-sysusers "$(SYSUSERS)"; fi
	@if [ -e "$(CONFIG)/tcp-trace.env" ]; then echo "kept: $(CONFIG)/tcp-trace.env"; else \
		install -m 0640 systemd/tcp-trace.env.example "$(CONFIG)/tcp-trace.env"; \
		if [ -z "$(DESTDIR)" ] && getent group tcp-trace >/dev/null; then \
			chgrp tcp-trace "$(CONFIG)/tcp-trace.env"; fi; fi
	@if $(SYSTEMD); then systemctl daemon-reload; fi
	@echo
	@echo "Next:"
	@echo "  1. set SLACK_URL in /etc/tcp-trace/tcp-trace.env"
	@echo "  2. $(PREFIX)/bin/tcp-trace check && $(PREFIX)/bin/tcp-trace test-alert"
	@echo "  3. systemctl enable --now tcp-trace      (after an upgrade: systemctl restart tcp-trace)"

uninstall: ## Remove what install put there; keeps configuration, logs and state
	@if $(SYSTEMD) && [ -e "$(UNITS)/tcp-trace.service" ]; then \
		systemctl disable --now tcp-trace; fi
	rm -rf "$(LIB)" "$(DOC)"
	rm -f "$(LAUNCHER)" "$(UNITS)/tcp-trace.service" "$(SYSUSERS)"
	@if [ -e "$(LOGROTATE)" ]; then \
		if cmp -s logrotate/tcp-trace "$(LOGROTATE)"; then rm -f "$(LOGROTATE)"; \
		else echo "kept: $(LOGROTATE), which was changed here"; fi; fi
	@if $(SYSTEMD); then systemctl daemon-reload; fi
	@echo "Kept: $(CONFIG), $(DESTDIR)/var/log/tcp-trace, $(DESTDIR)/var/lib/tcp-trace and the user"
	@echo "tcp-trace. 'make purge' removes the three directories, too."

purge: uninstall ## Uninstall, and remove configuration, logs and state, too
	rm -rf "$(CONFIG)" "$(DESTDIR)/var/log/tcp-trace" "$(DESTDIR)/var/lib/tcp-trace"
	rm -f "$(LOGROTATE)"
