# agent    what a device runs, and nothing to build it with   docker build --target agent -t ota-agent .
# staging  mock Director, and the emulated TEE                docker build --target staging -t ota-agent-staging .
# ci       everything, and runs .ci/run                       docker build --target ci -t ota-agent-ci .
#
# Any Debian 12 will do for BASE, and with any Node.js that has npm for NODE_BASE: the one that the agent
# needs comes through npm. `npm run images:check` builds all three on bases of its own and runs them.
ARG BASE=debian:bookworm-slim
ARG NODE_BASE=node:24-bookworm-slim

FROM ${NODE_BASE} AS modules
WORKDIR /usr/src/ota-agent
RUN apt-get update \
  && apt-get install -y --no-install-recommends \
    build-essential ca-certificates libsqlite3-dev openssl pkg-config python3 \
  && rm -rf /var/lib/apt/lists/*
# Before the other sources, so that an edit does not install everything again.
COPY package.json package-lock.json .npmrc ./
COPY test/setup.sh test/setup.sh
COPY test/tee/normal-world test/tee/normal-world
COPY test/tee/secure-world/native test/tee/secure-world/native
RUN SETUP_PACKAGES=no sh test/setup.sh
COPY . .

FROM modules AS build
RUN sh systemd/install.sh /out

# docker run --device /dev/tee0 -v ota-agent:/var/lib/ota-agent -v /etc/ota-agent:/etc/ota-agent:ro ota-agent
FROM ${BASE} AS agent
RUN apt-get update \
  && apt-get install -y --no-install-recommends \
    ca-certificates libengine-pkcs11-openssl libsqlite3-0 libstdc++6 openssl \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --system --home-dir /var/lib/ota-agent --shell /usr/sbin/nologin ota-agent \
  && install -d -o ota-agent -g ota-agent -m 700 /var/lib/ota-agent \
  && install -d -o ota-agent -g ota-agent -m 755 /run/ota-agent
COPY --from=build /out /
USER ota-agent
VOLUME /var/lib/ota-agent
ENTRYPOINT ["/usr/bin/ota-agent"]
CMD ["run"]

# docker run -p 30443:30443 -p 30444:30444 -v staging:/srv ota-agent-staging --name HOST
# docker run -v staging:/srv --entrypoint npm ota-agent-staging run tee -- \
#   --storage /srv/tee --socket /srv/tee.sock
FROM modules AS staging
ENV PATH=/usr/src/ota-agent/node_modules/.bin:$PATH
VOLUME /srv
EXPOSE 30443 30444
ENTRYPOINT ["node", "test/director/main.ts", "--state", "/srv/director", \
  "--host", "0.0.0.0", "--port", "30443", "--enrol-port", "30444"]

FROM modules AS ci
RUN sh test/setup.sh && rm -rf /var/lib/apt/lists/*
CMD [".ci/run"]
