# The same versions as `make install`. At first:
#   docker build -t remem . && docker run --rm -p 8888:8888 remem
# and open the address that it prints; or run something in it, such as `make quick`. Without a GPU an
# index of torch's builds for CPUs (see pytorch.org) saves gigabytes: --build-arg TORCH_INDEX=...
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

ARG TORCH_INDEX=""
ENV PIP_EXTRA_INDEX_URL=$TORCH_INDEX PIP_NO_CACHE_DIR=1

WORKDIR /remem
RUN useradd --create-home reader && chown reader /remem
USER reader

# What is installed changes more seldom than the code.
COPY --chown=reader pyproject.toml constraints.txt README.md LICENSE Makefile ./
COPY --chown=reader remem ./remem
RUN make install
COPY --chown=reader . .

EXPOSE 8888
CMD [".venv/bin/jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "notebooks"]
