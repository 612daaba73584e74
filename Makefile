# make run    set up and run everything in the foreground (Ctrl-C stops it)
# make test   all tests, in three processes (ARGS="-n0 tests/api": pytest's options)
# make test-services   the flows against a given PostgreSQL 15 and Redis 7 (says how to start Debian's)
# make check  formatting, types, migrations, deployment settings
# make bench  every part beside its baseline, into STATE/bench.json (ARGS="--only queue uploads")
# make train DATA=DIR [INIT=FILE] [OUT=DIR]     train a model (ARGS="…": more of ml.train's options)
# make evaluate DATA=DIR                         measure the shipped model (ARGS="--model FILE …")
# make crossval DATA=DIR [INIT=FILE] [OUT=DIR]   grouped five-fold, out of fold
# make chaos  break the running service in every way and check that nothing was lost ([SEED=n] [JOBS=n])
# make screenshots [OUT=DIR]  every page, two widths, two schemes (ARGS="--guide": those of the docs)
# make lock   pin the packages of pyproject.toml anew (UPGRADE=1: to their newest versions)
#
# Only relative paths, so that a checkout may have spaces in its path.

PORT ?= 8000
HOST ?= 127.0.0.1
STATE ?= ./var
PYTHON ?= python3
ARGS ?=
DATA ?=
INIT ?= imagenet
OUT ?= ./var/$@

# The service and its tests start many processes; each would compile the whole project anew.
unexport PYTHONDONTWRITEBYTECODE

python := .venv/bin/python
# A value as one word for the shell, whatever is in it.
quote = '$(subst ','\'',$(1))'

.PHONY: help run test test-services check bench chaos train evaluate crossval screenshots lock
.PHONY: install-run install-dev
.NOTPARALLEL:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# The supervisor takes the place of the shell: signals reach it, and its exit code is make's.
run: install-run
	@BCWEB_UNDER_MAKE=1 exec $(python) -m bcweb.embedded \
		--host $(call quote,$(HOST)) --port $(call quote,$(PORT)) --state $(call quote,$(STATE))

test: install-dev
	@exec $(python) -m pytest -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)

# Needs TEST_DATABASE_URL and TEST_REDIS_URL; without them it tells what to type.
test-services: install-dev
	@exec $(python) -m tests.services $(ARGS)

# Every part runs, so that one look shows all that is wrong. The deployment check sees what a
# production server would have in its environment.
check: install-dev
	@code=0; \
	$(python) -m ruff check . || code=1; \
	$(python) -m ruff format --check . || code=1; \
	$(python) -m mypy || code=1; \
	$(python) manage.py makemigrations --check --dry-run || code=1; \
	env DEBUG=0 BCWEB_TLS=1 BCWEB_DEMO=0 ALLOWED_HOSTS=bcweb.example.org \
		SECRET_KEY="$$($(python) -c 'import secrets; print(secrets.token_urlsafe(48))')" \
		DATABASE_URL=postgresql://bcweb@127.0.0.1/bcweb REDIS_URL=redis://127.0.0.1:6379/0 \
		$(python) manage.py check --deploy --fail-level WARNING || code=1; \
	if [ $$code = 0 ]; then echo "check: ok"; else echo "check: failed" >&2; fi; exit $$code

# Parts: queue end uploads latency polls events growth memory. ARGS="--small" takes a moment of each.
bench: install-dev
	@exec $(python) -m bench --state $(call quote,$(STATE)) $(ARGS)

# A folder per class, a manifest, or a folder that holds several of these.
needs_data = $(if $(DATA),,$(error say which data: make $@ DATA=DIR))

train: install-run
	$(needs_data)@exec $(python) -m ml.train --data $(call quote,$(DATA)) \
		--init $(call quote,$(INIT)) --out $(call quote,$(OUT)) --resume $(ARGS)

crossval: install-run
	$(needs_data)@exec $(python) -m ml.crossval --data $(call quote,$(DATA)) \
		--init $(call quote,$(INIT)) --out $(call quote,$(OUT)) --resume $(ARGS)

evaluate: install-run
	$(needs_data)@exec $(python) -m ml.evaluate --data $(call quote,$(DATA)) $(ARGS)

# A service of its own in a temporary folder; STATE only gets chaos.json.
chaos: install-dev
	@exec $(python) -m bench.chaos --out $(call quote,$(STATE)/chaos.json) \
		$(if $(SEED),--seed $(call quote,$(SEED))) $(if $(JOBS),--jobs $(call quote,$(JOBS))) $(ARGS)

screenshots: install-dev
	@exec $(python) -m bench.screenshots --out $(call quote,$(OUT)) $(ARGS)

# One resolution (dev.txt) for everything; the others are parts of it.
uv_compile = $(python) -m uv pip compile --quiet --universal --generate-hashes --no-header \
	--python-version 3.11 $(if $(UPGRADE),--upgrade) pyproject.toml

lock: install-dev
	$(uv_compile) --all-extras --output-file requirements/dev.txt
	$(uv_compile) --constraint requirements/dev.txt --extra worker --extra embedded --extra s3 \
		--output-file requirements/run.txt
	$(uv_compile) --constraint requirements/dev.txt --extra s3 \
		--output-file requirements/web.txt
	$(uv_compile) --constraint requirements/dev.txt --extra worker --extra s3 \
		--output-file requirements/worker.txt

install-run:
	@exec $(PYTHON) bcweb/embedded/install.py run

install-dev:
	@exec $(PYTHON) bcweb/embedded/install.py dev
