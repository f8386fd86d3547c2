# make run         the embedded demo, all three tracks; ends with the path of the report
# make test        tests that need no more than minutes
# make lint        style of Python and Snakemake files, types
# make benchmark   speed and quality against peers
# make benchmark-peers  installs those peers that need old packages into an environment of their own
# make view        installs what `sparse2dense view --offline` needs besides
# make clean       removes what tools left behind, never results
# make site        the documentation as a website in site/; needs `pip install -e '.[docs]'`
# make lock        pins the newest versions that pyproject.toml allows
PYTHON ?= python3
BIN := .venv/bin
CORES ?= all

PEERS := benchmarks/peers/.venv
PAGES := README.md CONTRIBUTING.md CHANGELOG.md LICENSE config docs envs profiles

.PHONY: run test lint benchmark benchmark-peers view site clean lock

run: .venv/installed
	$(BIN)/snakemake --cores $(CORES)
	@echo "The report: $(CURDIR)/results/demo/report.html"

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow and not slurm and not browser"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy

benchmark: .venv/installed
	$(BIN)/python -m benchmarks

benchmark-peers: $(PEERS)/installed

view: .venv/view

site: .pages/made
	$(BIN)/mkdocs build

# What pages are and link to, in the places where they lie: MkDocs reads one folder, which mustn't be the project's.
.pages/made: Makefile
	mkdir -p $(@D)
	ln -sfn $(PAGES:%=../%) $(@D)
	touch $@

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path "*/.venv/*" -prune -exec rm -rf {} +

# A half-installed environment has no `installed` and is made anew.
.venv/installed: requirements.lock pyproject.toml
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps -e .
	touch $@

.venv/view: .venv/installed requirements-view.lock
	$(BIN)/pip install --disable-pip-version-check --quiet -r requirements-view.lock
	touch $@

$(PEERS)/installed: benchmarks/peers/requirements.lock
	rm -rf $(PEERS)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --disable-pip-version-check --quiet -r $<
	touch $@

lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --disable-pip-version-check --quiet -e ".[dev,peers]"
	head -2 requirements.lock > requirements.lock.new
	.venv-lock/bin/pip freeze --all --exclude-editable | sed 's/+cpu$$//' | grep -v '^pip==' >> requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf .venv-lock
