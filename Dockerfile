# One image for every process; which one a container runs is its command (docker-compose.yml).
FROM node:22-bookworm-slim AS libraries
WORKDIR /libraries
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates gcc gettext libc6-dev libvirt-dev pkg-config python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/runtime.txt /src/requirements/runtime.txt
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r /src/requirements/runtime.txt
COPY . /src
RUN cd /src && find . -name '*.po' -exec sh -c 'msgfmt -o "${1%.po}.mo" "$1"' _ {} \;

FROM debian:12-slim
# The tools after the first line make the default guest image; openssh-client speaks qemu+ssh:// to remote hosts.
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates fonts-dejavu-core iproute2 libharfbuzz-subset0 libpango-1.0-0 libpangoft2-1.0-0 libvirt0 libvirt-clients openssh-client python3 \
        binutils cpio debian-archive-keyring dosfstools e2fsprogs fakeroot fdisk kmod mmdebstrap mtools \
        qemu-utils syslinux syslinux-common uidmap \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin vmportal \
    && install -d -o vmportal -g vmportal -m 750 /var/lib/vmportal
COPY --from=build /opt/venv /opt/venv
COPY --from=build /src /opt/vmportal
COPY --from=libraries /libraries/node_modules /opt/node_modules
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    DJANGO_SETTINGS_MODULE=vmportal.settings \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VMPORTAL_NODE_MODULES=/opt/node_modules \
    VMPORTAL_VAR=/var/lib/vmportal
WORKDIR /opt/vmportal
USER vmportal
VOLUME /var/lib/vmportal
EXPOSE 8000
CMD ["uvicorn", "vmportal.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--loop", "uvloop", \
     "--http", "httptools", "--ws", "websockets-sansio", "--lifespan", "off", "--no-server-header", "--no-access-log", \
     "--ws-max-size", "65536", "--proxy-headers"]
