/** In which order the documents are read, and what a reader of each is told to have. */
import { join } from 'node:path';

import { commandsOf, fencesOf } from '../support/document.ts';
import { ROOT } from './documents.ts';

export interface Step {
  readonly document: string;
  /** Headings; absent: all that was not typed before. */
  readonly sections?: readonly string[];
  /** A script for bash, in the checkout. */
  readonly has?: string;
  /** Typed into each terminal before anything else. */
  readonly first?: readonly string[];
}

/** What an administrator puts on a device, as the ten minutes have it; PINs come as credentials here. */
const DEVICE = [
  'mkdir -p /etc/ota-agent/conf.d',
  ...commandsOf(join(ROOT, 'provisioning/GETTING-STARTED.md'))
    .filter(({ section }) => section.startsWith('3. '))
    .map(({ text }) => text),
  "sed -i '/pin_file/d' /etc/ota-agent/conf.d/10-device.toml",
  // Of every process, also of one in a transient unit.
  'install -m 755 -d /etc/softhsm',
  'install -m 644 /etc/ota-agent/softhsm2.conf /etc/softhsm/softhsm2.conf',
  'printf 123456 >pin',
  'printf 12345678 >so-pin',
  'openssl s_client -connect 127.0.0.1:30443 </dev/null 2>/dev/null | openssl x509 >gateway.pem',
].join('\n');

/** A device whose certificate a person signs. */
const MANUAL = `
  mkdir -p /tmp/manual/tokens
  echo 'directories.tokendir = /tmp/manual/tokens' >/tmp/manual/softhsm2.conf
  cat >/tmp/manual/device.toml <<'END'
    storage.path = "/tmp/manual/state"
    provisioning.mode = "manual"
    provisioning.csr_file = "${ROOT}/device.csr"
    provisioning.certificate_file = "${ROOT}/device.pem"
END
  SOFTHSM2_CONF=/tmp/manual/softhsm2.conf OTA_AGENT_PIN=123456 OTA_AGENT_SO_PIN=12345678 \\
    ota-agent provision --config /tmp/manual/device.toml || [ $? = 3 ]
`;

/** Two boards in their cradles, and the list of them that the document shows. */
const STATION = `
  PATH=$PWD/node_modules/.bin:$PATH
  mkdir pins
  for n in 1 2; do
    mkdir -p /run/cradle-$n
    node test/tee/secure-world/main.ts --storage /tmp/cradle-$n --socket /run/cradle-$n/tee \\
      >/run/cradle-$n/ready 2>&1 </dev/null &
    (umask 077; echo 5555$n >pins/000$n; echo 6666666$n >pins/000$n.so)
  done
  cat >devices.csv <<'END'
${csvOf('provisioning/README.md')}
END
  cat >station.toml <<END
    token.module = "$PWD/test/tee/build/libtee-cryptoki.so"
END
  for n in 1 2; do until [ -S /run/cradle-$n/tee ]; do sleep 0.1; done; done
`;

function csvOf(document: string): string {
  const [list] = fencesOf(join(ROOT, document)).filter(({ info }) => info === 'csv');
  return (list?.lines ?? []).join('\n');
}

/** The PINs of the factory, for commands that are not in a unit. */
const PIN_FILES = `
  install -d -m 755 /run/factory
  for pin in pin so-pin; do install -m 600 -o ota-agent /dev/null /run/factory/$pin; done
  printf 123456 >/run/factory/pin
  printf 12345678 >/run/factory/so-pin
  cat >/run/ota-agent/conf.d/50-factory.toml <<'END'
    token.pin_file = "/run/factory/pin"
    token.so_pin_file = "/run/factory/so-pin"
END
  systemctl restart ota-agent
`;

/** In the field, too, a Director has to allow it. */
const KEYS_MAY_CHANGE = `
  curl --silent --fail --unix-socket /srv/director/control.sock --request PUT \\
    --json '{"ecuReplacement":true}' http://director/settings
`;

/** Nobody else works on the storage, at whatever moment the timer says. */
const NO_SECRETS = `
  systemctl disable --now ota-agent-secrets.timer
  systemctl stop ota-agent-secrets.service
`;

/** Again, after a timer. */
const DAEMON = `
  systemctl disable --now ota-agent-once.timer
  systemctl enable --now ota-agent
`;

const FIRMWARE = `
  for n in 1 2 7; do head -c 100000 /dev/urandom >fw-$n.bin; done
  mv fw-7.bin fw-7.img
`;

export const STEPS: readonly Step[] = [
  { document: 'test/director/README.md', sections: ['Run it'] },
  { document: 'README.md', has: DEVICE },
  {
    document: 'systemd/README.md',
    sections: ['The agent under systemd', 'First start', 'Secrets for services'],
    has: 'systemctl disable --now ota-agent',
  },
  { document: 'systemd/README.md', has: NO_SECRETS },
  { document: 'config/README.md' },
  { document: 'agent/API.md', has: DAEMON },
  {
    document: 'provisioning/README.md',
    has: [MANUAL, PIN_FILES, STATION, KEYS_MAY_CHANGE].join('\n'),
    first: ['export PIN=123456'],
  },
  { document: 'agent/ANCHOR.md' },
  { document: 'test/director/README.md', sections: ['Command line'], has: FIRMWARE },
  { document: 'agent/OFFLINE.md', has: 'mkdir -p /media/stick' },
  { document: 'agent/VERIFY.md' },
  { document: 'test/tee/README.md' },
  { document: 'test/tee/secure-world/festore/README.md' },
  { document: 'test/fleet/README.md' },
  // Last: its devices go on polling.
  { document: 'test/director/README.md' },
];
