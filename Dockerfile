# `docker build .` gives the edge; `docker build --target demo .` gives the demo's Django origin.

# The wheel, with the hot modules compiled: no compiler goes into what runs.
FROM python:3.12-slim AS wheel
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY mizan_core mizan_core
COPY mizan_edge mizan_edge
COPY mizan mizan
RUN MIZAN_EDGE_COMPILE=1 pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim AS package
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/mizan && /opt/mizan/bin/pip install --no-cache-dir /wheels/*.whl

FROM package AS package-demo
RUN /opt/mizan/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[django]" 'uvicorn>=0.34,<1'

FROM python:3.12-slim AS runtime
ENV PATH=/opt/mizan/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A new named volume takes owner and mode of the directory that it is mounted on: hence these empty ones.
RUN useradd --uid 10001 --create-home --home-dir /srv/mizan mizan \
    && install --directory --owner=mizan --group=mizan /srv/mizan/manifest /srv/mizan/shop \
    && install --directory --owner=mizan --group=mizan --mode=0700 /srv/mizan/state
WORKDIR /srv/mizan
USER mizan

FROM runtime AS demo
COPY --from=package-demo /opt/mizan /opt/mizan
COPY demo demo
ENV DEMO_DATABASE=/srv/mizan/shop/shop.sqlite3
EXPOSE 8000
# The port opens once migrations, seed data and the manifest are in place.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8000), 2).close()"]
CMD ["python", "-m", "demo.origin", "--host", "0.0.0.0", "--port", "8000", "--manifest", "/srv/mizan/manifest/edge.json"]

FROM runtime AS edge
COPY --from=package /opt/mizan /opt/mizan
# Everything else is the deployment's to set: at least MIZAN_EDGE_ORIGIN and MIZAN_EDGE_REDIS, and a volume of this edge
# alone on the state directory, since purges that Redis has not confirmed are written there.
ENV MIZAN_EDGE_LISTEN=0.0.0.0:8080 MIZAN_EDGE_MANIFEST=/srv/mizan/manifest/edge.json MIZAN_EDGE_STATE_DIR=/srv/mizan/state
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8081, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["mizan-edge", "serve"]
