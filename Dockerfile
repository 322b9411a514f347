# One image for every process of the project; the command chooses which:
#
#   docker run IMAGE node --enable-source-maps dist/workers/commerce.js
#
# Temporal's native library needs glibc, which rules Alpine out.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build

FROM node:24-bookworm-slim AS production-packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Temporal brings its native library for every platform, some 27 MB each: this one's is enough.
RUN npm ci --omit=dev \
  && find node_modules/@temporalio/core-bridge/releases -mindepth 1 -maxdepth 1 \
    ! -name "$(uname -m)-unknown-linux-gnu" -exec rm -r {} + \
  && test -f "node_modules/@temporalio/core-bridge/releases/$(uname -m)-unknown-linux-gnu/index.node"

FROM node:24-bookworm-slim
# Temporal's native library checks TLS certificates against the system's, which this base lacks. tini is
# PID 1: the kernel drops a SIGTERM that a PID 1 has no handler for, as Node.js has none while it starts.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates tini \
  && rm -rf /var/lib/apt/lists/*
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=production-packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# Volumes for the payment simulator's charges and the API's views inherit these folders' owner.
RUN install --directory --owner=1000 --group=1000 --mode=700 /var/lib/payments /var/lib/view-spool
ENV VIEW_SPOOL_DIR=/var/lib/view-spool
# The base's user `node`, as a number: Kubernetes' `runAsNonRoot` cannot tell who a name is.
USER 1000:1000
# The API, the metrics and health of workers and bridges, the payments simulator.
EXPOSE 3000 9464 18080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "dist/platform/observability/health-check.js"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["node", "--enable-source-maps", "dist/api/main.js"]
