/**
 * Every setting: name, type, unit, default and meaning, once.
 *
 * `config.ts` reads files into this shape; `config/schema.json` and the table in `config/README.md`
 * are made from it, so `title` names the type for people and `Unset:` says what then happens. No
 * secret is ever a setting: PINs and enrolment secrets are named by file.
 */
import * as z from 'zod';

import { componentSettings } from './settings-component.ts';
import { healthSettings } from './settings-health.ts';
import { installerSettings } from './settings-installer.ts';
import { offlineSettings } from './settings-offline.ts';
import { separationSettings } from './settings-separation.ts';
import { telemetrySettings } from './settings-telemetry.ts';
import { updateSettings } from './settings-update.ts';
import { identitySection, tokenSection } from './settings-token.ts';
import {
  duration,
  fileOr,
  KIBIBYTE,
  path,
  pin,
  proxy,
  size,
  sizeBetween,
  sizeFrom,
  text,
  url,
  wholeNumber,
} from './settings-values.ts';

/** How large metadata may be; `ota-agent verify` takes the same as options. */
export const metadataLimits = {
  max_root_metadata: sizeBetween(64 * KIBIBYTE, 1024 * KIBIBYTE, '64KiB').describe(
    'Largest root metadata file; in TUF 512KiB is always allowed',
  ),
  max_image_metadata: sizeBetween(64 * KIBIBYTE, 64 * 1024 * KIBIBYTE, '8MiB').describe(
    'Largest Targets metadata file of the Image repository',
  ),
};

export const settingsSchema = z.strictObject({
  gateway: z
    .strictObject({
      url: url.optional().describe('Base of /director, /repo and /events'),
      director_url: url
        .optional()
        .describe('Base of the Director. Unset: gateway.url with /director'),
      image_url: url
        .optional()
        .describe('Base of the Image repository. Unset: gateway.url with /repo'),
      ca: fileOr('certificate')
        .optional()
        .describe(
          'CA of the gateway: PEM file, or a certificate in the token. Unset: the CAs of the system',
        ),
      timeout: duration('60s').describe('Longest wait for a connection, headers or a silent body'),
      tls_min: z
        .enum(['1.2', '1.3'])
        .default('1.2')
        .describe('Oldest TLS version to speak; 1.3 is used wherever the gateway has it'),
      pins: z
        .array(pin)
        .default([])
        .describe('Public keys (SHA-256 of SPKI) of which one has to vouch for the gateway')
        .meta({ title: 'list of pins such as "sha256/BASE64="' }),
      crl: z
        .array(path)
        .default([])
        .describe('Lists of revoked certificates (PEM or DER), one for every CA of the gateway')
        .meta({ title: 'list of absolute paths' }),
      ocsp: z
        .enum(['off', 'stapled'])
        .default('off')
        .describe('`stapled`: the gateway has to bring proof that it is not revoked (OCSP)'),
      proxy: proxy
        .optional()
        .describe('HTTP proxy for all requests, or `direct`. Unset: HTTPS_PROXY and NO_PROXY'),
    })
    .prefault({}),
  token: tokenSection,
  identity: identitySection,
  device: z
    .strictObject({
      id: text(64).optional().describe("Name of the device. Unset: the certificate's CN"),
    })
    .prefault({}),
  ecu: z
    .strictObject({
      serial: text(64)
        .optional()
        .describe('Serial of the Primary ECU. Unset: derived once, then fixed'),
      hardware_id: text(200)
        .optional()
        .describe('Hardware identifier of the Primary ECU. Unset: the host name'),
    })
    .prefault({}),
  provisioning: z
    .strictObject({
      mode: z
        .enum(['device-cred', 'est', 'shared-cred', 'manual'])
        .default('device-cred')
        .describe('Where the TLS certificate comes from'),
      est_url: url
        .optional()
        .describe('Base of the EST server, before /.well-known/est, or with it and a label'),
      est_ca: fileOr('certificate')
        .optional()
        .describe('CA of the EST server, as gateway.ca. Unset: gateway.ca'),
      est_secret_file: path.optional().describe('File with USER:PASSWORD for HTTP Basic'),
      est_wait: duration('1m').describe('Longest wait for a request that has to be approved first'),
      est_client_key: fileOr('private key')
        .optional()
        .describe('Key that the device was born with, for TLS to the EST server'),
      est_client_certificate: fileOr('certificate')
        .optional()
        .describe('Its certificate, with its CAs. Unset: the one of a key in the token'),
      credentials_file: path
        .optional()
        .describe("aktualizr's credentials.zip, for mode `shared-cred`"),
      credentials_password_file: path
        .optional()
        .describe('File with the password of the PKCS#12 files there. Unset: empty'),
      shared_days: wholeNumber(1, 36_500)
        .default(36_000)
        .describe('Days that mode `shared-cred` asks for, as aktualizr does'),
      csr_file: path.optional().describe('Where mode `manual` leaves the CSR (PEM)'),
      certificate_file: path.optional().describe('Certificate (PEM) for `manual`, `device-cred`'),
    })
    .prefault({}),
  uptane: z
    .strictObject({
      dialect: z
        .enum(['uptane', 'tuf'])
        .default('uptane')
        .describe('Metadata format of the Image repository; `tuf` is TUF 1.0'),
      roots: z
        .tuple([path, path])
        .optional()
        .describe('Pinned root metadata files: Director, Image repository')
        .meta({ title: 'list of two absolute paths' }),
      initial_metadata: path
        .optional()
        .describe('Directory with the complete set of metadata that trust begins with'),
      trust_on_first_use: z
        .boolean()
        .default(false)
        .describe('Pin whatever root metadata the first contact serves: an attacker there wins'),
      time_url: url
        .optional()
        .describe('Server that signs the time. Unset: no signed time, see agent/TIME.md'),
      time_keys: path
        .optional()
        .describe("JSON file with the time server's `keys` and `threshold`"),
      poll_interval: duration('1h').describe('Time between cycles, before jitter'),
      ...metadataLimits,
    })
    .prefault({}),
  download: z
    .strictObject({
      minimum_rate: size('1KiB').describe('Bytes per second below which a download is an attack'),
      minimum_rate_window: duration('30s').describe('How long it may stay below'),
      attempts: wholeNumber(1, 100).default(5).describe('Tries per image in one cycle'),
      reserve: size('1MiB').describe('Free space that a download must leave'),
      mirrors: z
        .array(url)
        .default([])
        .describe('Bases of image names, tried in order before the Image repository')
        .meta({ title: 'list of https URLs' }),
      max_rate: sizeFrom(KIBIBYTE)
        .optional()
        .describe('Bytes per second that images may be downloaded at. Unset: any'),
      keep: z
        .enum(['until-next', 'until-done'])
        .default('until-next')
        .describe('How long images stay on the disk: until the next update, or the end of theirs'),
    })
    .prefault({}),
  update: updateSettings,
  offline: offlineSettings,
  telemetry: telemetrySettings,
  installer: installerSettings,
  secrets: z
    .strictObject({
      url: url.optional().describe('Who sends secrets; unset: `/secrets` below `gateway.url`'),
      directory: path
        .default('/run/ota-agent/secrets')
        .describe('Where services find them: a directory in memory, of this user alone'),
      on_change: z
        .array(z.string())
        .default([])
        .describe('Program and arguments to run when one changed; OTA_SECRETS_CHANGED names them')
        .meta({ title: 'list of texts such as ["systemctl", "reload", "app"]' }),
    })
    .prefault({}),
  component: componentSettings,
  separation: separationSettings,
  health: healthSettings,
  boot: z
    .strictObject({
      boot_id_file: path
        .default('/proc/sys/kernel/random/boot_id')
        .describe('File whose content changes with every boot'),
    })
    .prefault({}),
  storage: z
    .strictObject({
      path: path.default('/var/lib/ota-agent').describe('State and staged images; mode 0700'),
    })
    .prefault({}),
  daemon: z
    .strictObject({
      linger: duration('30s').describe(
        'How long the daemon keeps in memory what a cycle or a question has loaded',
      ),
    })
    .prefault({}),
  api: z
    .strictObject({
      socket: path.default('/run/ota-agent/api.sock').describe('Unix socket of the local API'),
      group: text(32)
        .optional()
        .describe('Group that may use it, by name or number. Unset: root and the own user alone'),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      textfile: path
        .regex(/\.prom$/u)
        .optional()
        .meta({ title: 'path that ends in ".prom"' })
        .describe('Written after every cycle, for the textfile collector of node_exporter'),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z
        .enum(['debug', 'info', 'warn', 'error'])
        .default('info')
        .describe('Least severe line that is written'),
      format: z
        .enum(['auto', 'journal', 'json', 'pretty'])
        .default('auto')
        .describe('Form of a line; `auto` is `journal` under systemd, else `pretty`'),
    })
    .prefault({}),
});

/** Decoded, complete and frozen: durations in milliseconds, sizes in bytes. */
export type Settings = Frozen<z.output<typeof settingsSchema>>;

type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;
