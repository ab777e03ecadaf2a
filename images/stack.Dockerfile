# One file for every row. `python -m images.bake` fills the context, the lock decides with what, and the build has no network.
# Three layers by rate of change: system, environment, application. install.py sets every date, so that the same contents are the same layer.
# The build adds nothing but what it says: /mnt is there in every base, so mounting on it leaves no trace.
ARG OS=debian
ARG BASE=scratch

# A root filesystem made from Debian's packages: no container hub is needed.
FROM scratch AS debian
ADD rootfs.tar /

# An Ubuntu, CUDA or L4T image and the packages that the lock names.
FROM ${BASE} AS ubuntu
RUN --mount=type=bind,source=debs,target=/mnt \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --no-download /mnt/*.deb \
 && rm -rf /var/cache/apt /var/lib/apt/lists /var/log/*

FROM ${OS}
ARG PYTHON
ARG ROS_DISTRO
ENV FASTRTPS_DEFAULT_PROFILES_FILE=/etc/homeport/dds.xml \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    RMW_IMPLEMENTATION=rmw_fastrtps_cpp \
    ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET \
    ROS_DISTRO=${ROS_DISTRO} \
    ROS_LOG_DIR=/tmp/ros
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=1s --start-period=120s --retries=3 CMD ["/usr/local/bin/healthcheck"]
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/entrypoint"]
CMD ["stack.cli", "--help"]

RUN --mount=type=bind,source=environment,target=/mnt \
    PYTHONHASHSEED=0 "python${PYTHON}" -B /mnt/install.py environment
RUN --mount=type=bind,source=application,target=/mnt \
    PYTHONHASHSEED=0 "python${PYTHON}" -B /mnt/install.py application
USER 10001:10001
