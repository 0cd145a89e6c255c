# docker build -t sip-trunks . && docker run --rm -e FAMULOR_API_KEY -v sip-trunks:/data sip-trunks run
# docs/schedules.md shows how to run it every hour.
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
# The versions of requirements.lock, without its development tools.
RUN grep '^[a-z0-9].*==' requirements.lock | tr -d '\\' > /constraints.txt \
 && python -m venv /opt/sip-trunks \
 && /opt/sip-trunks/bin/pip install --no-cache-dir --constraint /constraints.txt '.[postgres,s3]' \
 && /opt/sip-trunks/bin/python -m compileall -q /opt/sip-trunks/lib

FROM python:3.12-slim
COPY --from=build /opt/sip-trunks /opt/sip-trunks
RUN useradd --uid 1000 --create-home sip-trunks && install -d -o sip-trunks /data /srv/sip-trunks
ENV PATH=/opt/sip-trunks/bin:$PATH SIP_TRUNKS__DATA_DIR=/data PYTHONDONTWRITEBYTECODE=1
USER sip-trunks
# A folder .dlt with settings and secrets may be mounted here.
WORKDIR /srv/sip-trunks
VOLUME /data
HEALTHCHECK --interval=5m --timeout=30s --start-period=10m CMD ["sip-trunks", "status", "--max-age", "3h"]
ENTRYPOINT ["sip-trunks"]
CMD ["run"]
