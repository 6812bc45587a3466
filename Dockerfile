# The same versions as `make install`, with torch's build for CPUs. At first:
#   docker build -t remem . && docker run --rm -p 8888:8888 remem
# and open the address that it prints; or run something in it, such as `make quick`.
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home reader
USER reader
WORKDIR /home/reader/remem

# What is installed changes more seldom than the code: torch first, from the index of its CPU builds.
COPY --chown=reader pyproject.toml constraints.txt README.md LICENSE Makefile ./
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --constraint constraints.txt \
      --index-url https://download.pytorch.org/whl/cpu \
      --extra-index-url https://pypi.org/simple torch
COPY --chown=reader remem ./remem
RUN make install
COPY --chown=reader . .

EXPOSE 8888
CMD [".venv/bin/jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "notebooks"]
