# make start   build and run the chat demo      make test    run every test
# make check   everything that CI runs          make lint    style and static analysis
# make fuzz    each fuzzer, FUZZ_SECONDS each   make bench   measure against itself
# make bench-cells   cells beside Socket.IO   make count   instructions of a message, against those stored
# make soak    faults at random, SECONDS and SEED; counts every message
# make soak-cells   the same for five cells and the Redis that joins them
# make examples   get examples/ ready to start  make clean
# make install PREFIX=/usr/local   also: make uninstall
# make dist    the same as an archive to unpack anywhere
# make deb     the same as a Debian package
# Variables: CC=clang, SAN=address,undefined, DEBUG=1, O=build folder, V=1 (show
# the commands).

VERSION := 0.2.0
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN     ?=
DEBUG   ?= $(SAN)
O       ?= build$(if $(SAN),-san)$(if $(filter clang%,$(CC)),-clang)
PREFIX  ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),,$(PREFIX))/etc
UNITDIR ?= $(PREFIX)/lib/systemd/system

# Folders of src/, lowest first; each may use those that LIBS_<folder> names.
FOLDERS       := util wire net proc upstream engine discovery clients register gateway worker master admin lualib config role testing cli
LIBS_util     :=
LIBS_wire     := util
LIBS_net      := util wire
LIBS_proc     := util wire net
LIBS_upstream := util net
LIBS_engine   := util wire net upstream
LIBS_discovery := util wire net proc
LIBS_clients  := util wire net
LIBS_register := util wire net proc upstream engine
LIBS_gateway  := util wire net proc upstream engine discovery clients
LIBS_worker   := util wire net proc upstream engine discovery
LIBS_master   := util wire net proc
LIBS_admin    := util wire net proc clients
LIBS_lualib   := util wire net proc upstream engine discovery worker
LIBS_config   := util wire net proc upstream engine discovery clients register gateway worker master admin lualib
LIBS_role     := $(LIBS_config) config
LIBS_testing  := $(LIBS_role) role
LIBS_cli      := $(filter-out cli,$(FOLDERS))

PKGS := libuv libwebsockets lua5.4 lua5.4-cjson jansson openssl hiredis libcurl libmariadb

WARN   := -Wall -Wextra -Wshadow -Wundef -Wformat=2 -Wwrite-strings \
          -Wpointer-arith -Wvla -Wstrict-prototypes -Wmissing-prototypes \
          -Wold-style-definition -Wredundant-decls -Wdouble-promotion \
          -Wimplicit-fallthrough -Wno-unused-parameter
STRICT := -Wconversion -Wsign-conversion # src/wire only, where bytes become numbers
HARDEN := -fno-common -fstack-protector-strong -fPIE \
          $(if $(SAN),,-D_FORTIFY_SOURCE=2)
OPT    := $(if $(DEBUG),-O1 -fno-omit-frame-pointer,-O2 -flto=auto -ffat-lto-objects)
OPT    := $(if $(filter clang%,$(CC)),$(filter-out -flto=auto -ffat-lto-objects,$(OPT)),$(OPT))
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)

CPPFLAGS += -D_GNU_SOURCE -DGWRUN_VERSION='"$(VERSION)"' \
            -DGWRUN_LUA_DIR='"$(PREFIX)/share/gwrun/lua"' -Isrc $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS   += -std=gnu11 -g $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) $(WERROR)
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(SANFLAGS) $(OPT)
LDLIBS   += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm

objects = $(patsubst %.c,$(O)/%.o,$(wildcard src/$(1)/*.c))
libs    = $(foreach f,$(1),$(O)/lib$(f).a)
say     = $(if $(filter 1,$(V)),,@printf '  %-4s %s\n' $(1) $@ &&)

# What the world of `gwrun test` takes from libuv's functions on its own loops
# (src/testing/simloop.c): the program's calls of these go by there.
SIM_CALLS := uv_timer_start uv_timer_stop uv_tcp_init uv_close uv_queue_work uv_getaddrinfo
SIM_WRAP  := $(SIM_CALLS:%=-Wl,--wrap=%)

.DEFAULT_GOAL := build
.PHONY: docs build units fuzz bench bench-cells count soak soak-cells examples start test lint check deps test-deps install uninstall dist deb clean
build: $(O)/gwrun

$(O)/gwrun: $(call libs,$(FOLDERS))
	$(call say,LINK) $(CC) $(LDFLAGS) $(SIM_WRAP) -o $@ -Wl,--start-group $^ -Wl,--end-group $(LDLIBS)

define folder_rules
$(O)/lib$(1).a: $(call objects,$(1))
	$$(call say,AR) rm -f $$@ && gcc-ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rules,$(f))))

# The version stands in these.
$(patsubst %.c,$(O)/%.o,$(shell grep -l GWRUN_VERSION src/*/*.c)): Makefile
$(O)/src/wire/%.o: CFLAGS += $(STRICT)
$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC) $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# C units: spec/<folder>/<name>_test.c with cmocka, linked with what the folder
# may use and nothing else.
UNITS := $(patsubst %.c,$(O)/%,$(wildcard spec/*/*_test.c))
units: $(UNITS)
$(O)/spec/testing/%: UNIT_WRAP := $(SIM_WRAP)
.SECONDEXPANSION:
unit_folder = $(firstword $(subst /, ,$(1)))
$(UNITS): $(O)/spec/%_test: $(O)/spec/%_test.o \
          $$(call libs,$$(call unit_folder,$$*) $$(LIBS_$$(call unit_folder,$$*)))
	$(call say,LINK) $(CC) $(filter-out -flto=auto,$(LDFLAGS)) -fno-lto $(UNIT_WRAP) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS) -lcmocka

FUZZERS := $(patsubst spec/fuzz/%_fuzz.c,%,$(wildcard spec/fuzz/*_fuzz.c))
FUZZ_SECONDS ?= 60
FUZZ_O  := build-fuzz
fuzz:
	@$(MAKE) --no-print-directory O=$(FUZZ_O) CC=clang DEBUG=1 \
	  SANFLAGS='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all' \
	  $(FUZZERS:%=$(FUZZ_O)/spec/fuzz/%_fuzz)
	@.ci/fuzz $(FUZZ_O)/spec/fuzz $(FUZZ_SECONDS) $(FUZZERS)
$(FUZZ_O)/spec/fuzz/%_fuzz: $(FUZZ_O)/spec/fuzz/%_fuzz.o $(call libs,gateway $(LIBS_gateway))
	$(call say,LINK) $(CC) -fsanitize=fuzzer,address,undefined -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

# The load generators, of one system and of several nodes: no libraries at all.
$(O)/gwload $(O)/gwcross: $(O)/%: bench/%.c bench/load.h
	@mkdir -p $(@D)
	$(call say,CC) $(CC) -D_GNU_SOURCE -std=gnu11 -O2 -g $(WARN) $(WERROR) -o $@ $<
# bench/gwindex: the gateway's indexes of a million clients.
$(O)/gwindex: $(O)/bench/index.o $(call libs,gateway $(LIBS_gateway))
	$(call say,LINK) $(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)
bench: build $(O)/gwload $(O)/gwindex
	@bench/run $(O)
	@$(O)/gwindex | tee -a $(O)/bench.jsonl
# Cells beside Socket.IO with its Redis adapter; bench/cells/README.md
bench-cells: build $(O)/gwcross
	@[ -e bench/cells/node_modules ] || npm install --silent --no-package-lock --prefix bench/cells
	@bench/cells/compare $(O)

SECONDS ?= 600
SOAK := soak
soak-cells: SOAK := cells_soak
soak soak-cells: test-deps
	@$(MAKE) --no-print-directory build
	@GWRUN_BUILD=$(O) LUA_PATH='./?.lua;./spec/support/?.lua;;' \
	  ASAN_OPTIONS=detect_leaks=1:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	  LSAN_OPTIONS=suppressions=.ci/lsan.supp:print_suppressions=0 \
	  lua5.4 spec/fault/$(SOAK).lua $(SECONDS) $(SEED)

count: test-deps
	@$(MAKE) --no-print-directory build
	@bench/count $(O)

start: deps
	@$(MAKE) --no-print-directory build
	@exec $(O)/gwrun start

test: test-deps
	@$(MAKE) --no-print-directory build units $(O)/gwload
	@.ci/test $(O)

# Each example's page uses two files of the demo's.
examples: build
	@for e in examples/*/www/; do cp www/gwclient.js www/style.css $$e; done

lint: test-deps
	@.ci/lint

check: lint test
	@$(MAKE) --no-print-directory test SAN=address,undefined
	@$(MAKE) --no-print-directory build CC=clang WERROR=-Werror
	@$(MAKE) --no-print-directory build units WERROR=-Werror O=build-werror
	@$(MAKE) --no-print-directory fuzz

deps:
	@.ci/install build
test-deps:
	@.ci/install test

# docs/api.md and docs/openapi.json from the annotations that editors read
docs:
	@lua5.4 docs/generate_api.lua lua/meta/gwrun.lua >docs/api.md.new && mv docs/api.md.new docs/api.md
	@lua5.4 docs/generate_openapi.lua lua/meta/gwrun.lua lua/gwrun/api.lua >docs/openapi.json.new && \
	  mv docs/openapi.json.new docs/openapi.json

INSTALL := DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' \
           UNITDIR='$(UNITDIR)' packaging/install
install: build
	@$(INSTALL) add $(O)
uninstall:
	@$(INSTALL) remove $(O)

# An archive of what is installed: bin/, lib/, share/ in one folder, which may lie
# anywhere.
DIST := gwrun-$(VERSION)-linux-$(shell uname -m)
dist: build
	@packaging/tagged $(VERSION)
	rm -rf $(O)/dist
	@DESTDIR='$(O)/dist/$(DIST)' PREFIX= SYSCONFDIR=/etc UNITDIR=/lib/systemd/system \
	  packaging/install add $(O)
	tar -C $(O)/dist --owner=0 --group=0 --sort=name -czf $(O)/$(DIST).tar.gz $(DIST)
	@echo $(O)/$(DIST).tar.gz

deb:
	@packaging/tagged $(VERSION)
	@.ci/install package
	@packaging/deb $(O)

clean:
	rm -rf build build-*

-include $(shell find $(O) -path $(O)/deb -prune -o -path $(O)/dist -prune -o -type f -name '*.d' -print 2>/dev/null)
