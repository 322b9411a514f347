# syntax=docker/dockerfile:1
# One image for every process of the project; the command chooses which:
#
#   docker run IMAGE node --enable-source-maps dist/workers/commerce.js
#
# Temporal's native library needs glibc, which rules Alpine out.

FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build

FROM node:22-bookworm-slim AS production-packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

FROM node:22-bookworm-slim
# Temporal's native library checks TLS certificates against the system's, which this base lacks.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/*
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=production-packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# Volumes for the payment simulator's charges and the API's views inherit these folders' owner.
RUN install --directory --owner=node --group=node --mode=700 /var/lib/payments /var/lib/view-spool
ENV VIEW_SPOOL_DIR=/var/lib/view-spool
USER node
EXPOSE 3000
# For the API. The others serve no HTTP, or on another port: Compose overrides it for each.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.API_PORT || 3000}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--enable-source-maps", "dist/api/main.js"]
