"""Files with which others start a server or a site: systemd units and a compose file, to be read and adapted."""

from __future__ import annotations

from string import Template

SERVER_UNIT = Template("""\
# /etc/systemd/system/fedmetric-server.service: goes on with one run, to which runs/current links.
[Unit]
Description=fedmetric server
After=network-online.target
Wants=network-online.target

[Service]
User=fedmetric
WorkingDirectory=$folder
ExecStart=$command serve --deployment $folder --resume runs/current
KillSignal=SIGTERM
TimeoutStopSec=60
Restart=on-failure
RestartSec=30
# 0 is done; 2 and 4 are mistakes in what was asked, which another start does not mend
RestartPreventExitStatus=2 4
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=$folder
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
""")

SITE_UNIT = Template("""\
# /etc/systemd/system/fedmetric-site.service: trains whenever the server asks. Join once by hand before.
[Unit]
Description=fedmetric site
After=network-online.target
Wants=network-online.target

[Service]
User=fedmetric
ExecStart=$command join --home $folder
Environment=FEDMETRIC_CACHE=$folder/cache OMP_NUM_THREADS=1
KillSignal=SIGTERM
TimeoutStopSec=60
Restart=always
RestartSec=30
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths=$folder
PrivateTmp=yes
# the only way out is to the server; name its address
IPAddressDeny=any
IPAddressAllow=localhost $host

[Install]
WantedBy=multi-user.target
""")

COMPOSE = Template("""\
# compose.yaml: the site's image is one in which fedmetric is installed; images are mounted read-only.
services:
  site:
    image: fedmetric:$version
    command: ["fedmetric", "join", "--home", "/site"]
    volumes:
      - $folder:/site
      - /path/to/images:$data:ro
    environment:
      FEDMETRIC_CACHE: /site/cache
      OMP_NUM_THREADS: "1"
    restart: unless-stopped
    stop_grace_period: 60s
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
""")

TEMPLATES = {"systemd-server": SERVER_UNIT, "systemd-site": SITE_UNIT, "compose": COMPOSE}
