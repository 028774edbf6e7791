/**
 * Every setting: name, type, unit, default and meaning, once.
 *
 * `config.ts` reads files into this shape; `config/schema.json` and the table in `config/README.md`
 * are made from it, so `title` names the type for people and `Unset:` says what then happens. No
 * secret is ever a setting: PINs and enrolment secrets are named by file.
 */
import { z } from 'zod';

import { componentSettings } from './settings-component.ts';
import { healthSettings } from './settings-health.ts';
import { installerSettings } from './settings-installer.ts';
import {
  age,
  authority,
  duration,
  path,
  pin,
  pkcs11Uri,
  proxy,
  size,
  sizeBetween,
  sizeFrom,
  text,
  url,
  wholeNumber,
} from './setting-values.ts';

const KIBIBYTE = 1024;

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
      ca: authority
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
  token: z
    .strictObject({
      module: path.default('/usr/lib/libckteec.so.0').describe('PKCS#11 shared library'),
      uri: pkcs11Uri('token').default('pkcs11:token=ota-agent').describe('Token to use'),
      login: z.enum(['pin', 'none']).default('pin').describe('How to log in to the token'),
      pin_file: path
        .optional()
        .describe('File with the user PIN. Unset: the systemd credential `pin`'),
      so_pin_file: path
        .optional()
        .describe('File with the SO PIN. Unset: the systemd credential `so-pin`'),
      anchor: z
        .enum(['auto', 'off'])
        .default('auto')
        .describe('`auto`: what must not go back is also sealed in the token, where it can be'),
      tls_backend: z
        .enum(['auto', 'engine', 'provider', 'file'])
        .default('auto')
        .describe('How TLS reaches the key in the token; `file` for development only: it is none'),
    })
    .prefault({}),
  identity: z
    .strictObject({
      tls_key_type: z
        .enum(['ec-p256', 'rsa-2048'])
        .default('ec-p256')
        .describe('TLS key to generate in the token'),
      uptane_key_type: z
        .enum(['rsa-2048', 'ed25519'])
        .default('rsa-2048')
        .describe('Uptane key of the Primary ECU to generate in the token'),
      tls_key_file: path
        .optional()
        .describe('TLS key (PEM) of `token.tls_backend = "file"`: readable by the agent alone'),
      tls_certificate_file: path
        .optional()
        .describe('Its certificate (PEM), with the CAs between, if there are any'),
      renew_at: z
        .number()
        .min(0.1)
        .max(0.9)
        .default(0.67)
        .describe('Share of its life after which the certificate is renewed, before jitter')
        .meta({ title: 'number from 0.1 to 0.9' }),
      tls_key_max_age: age.optional().describe('Age at which the TLS key is rotated. Unset: never'),
      uptane_key_max_age: age
        .optional()
        .describe('Age at which the Uptane key is rotated. Unset: never'),
      tls_key: pkcs11Uri('private key')
        .optional()
        .describe('TLS key that is in the token already. Unset: one of ours, generated'),
      tls_certificate: pkcs11Uri('certificate')
        .optional()
        .describe('Certificate in the token. Unset: the one of the TLS key'),
      uptane_key: pkcs11Uri('private key')
        .optional()
        .describe('Uptane key that is in the token already. Unset: one of ours, generated'),
    })
    .prefault({}),
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
        .enum(['device-cred', 'est', 'manual'])
        .default('device-cred')
        .describe('Where the TLS certificate comes from'),
      est_url: url.optional().describe('Base of the EST server, before /.well-known/est'),
      est_ca: authority
        .optional()
        .describe('CA of the EST server, as gateway.ca. Unset: gateway.ca'),
      est_secret_file: path.optional().describe('File with USER:PASSWORD for HTTP Basic'),
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
  installer: installerSettings,
  component: componentSettings,
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
  api: z
    .strictObject({
      socket: path
        .default('/run/ota-agent/api.sock')
        .describe('Unix socket of the local status API'),
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
