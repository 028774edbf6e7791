/**
 * Every setting: name, type, unit, default and meaning, once.
 *
 * `config.ts` reads files into this shape; `config/schema.json` and the table in `config/README.md`
 * are made from it, so `title` names the type for people and `Unset:` says what then happens. No
 * secret is ever a setting: PINs and enrolment secrets are named by file.
 */
import { z } from 'zod';

const DURATION = /^\d{1,9}(ms|s|m|h|d)$/u;
const SIZE = /^\d{1,12}(B|KiB|MiB|GiB)?$/u;
const DURATION_MS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
const SIZE_BYTES = { GiB: 1024 ** 3, MiB: 1024 ** 2, KiB: 1024, B: 1 } as const;

const KIBIBYTE = SIZE_BYTES.KiB;

/** Timers count in 31 bits: a longer one would fire at once, for ever. */
const MAX_DURATION_MS = 24 * DURATION_MS.d;

/** A duration such as `"15m"`, decoded to milliseconds. */
const duration = (byDefault: string): z.ZodDefault<z.ZodCodec<z.ZodString, z.ZodNumber>> =>
  z
    .codec(z.string().regex(DURATION), z.number().min(1).max(MAX_DURATION_MS), {
      decode: (text) => parse(text, DURATION_MS),
      encode: (ms) => format(ms, DURATION_MS),
    })
    .default(parse(byDefault, DURATION_MS))
    .meta({ title: 'duration from "1ms" to "24d", such as "15m"' });

/** A size such as `"64MiB"`, decoded to bytes. */
const size = (byDefault: string): z.ZodDefault<z.ZodCodec<z.ZodString, z.ZodNumber>> =>
  sizeBetween(0, Number.MAX_SAFE_INTEGER, byDefault).meta({ title: 'size such as "64MiB"' });

const sizeBetween = (
  min: number,
  max: number,
  byDefault: string,
): z.ZodDefault<z.ZodCodec<z.ZodString, z.ZodNumber>> =>
  z
    .codec(z.string().regex(SIZE), z.number().min(min).max(max), {
      decode: (text) => parse(text, SIZE_BYTES),
      encode: (bytes) => format(bytes, SIZE_BYTES),
    })
    .default(parse(byDefault, SIZE_BYTES))
    .meta({ title: `size from "${format(min, SIZE_BYTES)}" to "${format(max, SIZE_BYTES)}"` });

const path = z
  .string()
  .regex(/^\/[^\0]*$/u)
  .meta({ title: 'absolute path' });

/** The base of other URLs, so it has no query; and no password, which would be a secret in a file. */
const url = z
  .url({ protocol: /^https$/u, abort: true })
  .regex(/^https:\/\//u)
  .refine(isBase, 'must have neither user name, password, query nor fragment')
  .meta({ title: 'https URL' });

const pkcs11Uri = z
  .string()
  .regex(/^pkcs11:/u)
  .refine((uri) => !uri.includes('pin-value'), 'must not hold a PIN: name a file, token.pin_file')
  .meta({ title: 'PKCS#11 URI (RFC 7512)' });

const pathOrObject = z
  .string()
  .regex(/^(?:\/[^\0]*|pkcs11:(?:type=[a-z]+;)?object=[^;?]+(?:;type=[a-z]+)?)$/u)
  .meta({ title: 'absolute path, or "pkcs11:object=LABEL" in the token' });

const text = (maxLength: number): z.ZodString =>
  z
    .string()
    .min(1)
    .max(maxLength)
    .meta({ title: `text of 1 to ${String(maxLength)} characters` });

const wholeNumber = (min: number, max: number): z.ZodInt =>
  z
    .int()
    .min(min)
    .max(max)
    .meta({ title: `whole number from ${String(min)} to ${String(max)}` });

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
      ca: path
        .optional()
        .describe('PEM file with the CA of the gateway. Unset: the CAs that come with Node.js'),
      timeout: duration('60s').describe('Longest wait for a connection, headers or a silent body'),
    })
    .prefault({}),
  token: z
    .strictObject({
      module: path.default('/usr/lib/libckteec.so.0').describe('PKCS#11 shared library'),
      uri: pkcs11Uri.default('pkcs11:token=ota-agent').describe('Token to use'),
      login: z.enum(['pin', 'none']).default('pin').describe('How to log in to the token'),
      pin_file: path
        .optional()
        .describe('File with the user PIN. Unset: the systemd credential `pin`'),
      so_pin_file: path
        .optional()
        .describe('File with the SO PIN. Unset: the systemd credential `so-pin`'),
      tls_backend: z
        .enum(['auto', 'engine'])
        .default('auto')
        .describe('How TLS reaches the key in the token'),
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
      allow_imported: z
        .boolean()
        .default(false)
        .describe('Accept keys that were not made in the token: there may be copies'),
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
        .enum(['device-cred', 'est', 'shared-cred', 'manual'])
        .default('device-cred')
        .describe('Where the TLS certificate comes from'),
      est_url: url
        .optional()
        .describe('Base of the EST server, before /.well-known/est, or with it and a label'),
      est_ca: path.optional().describe('PEM file with the CA of the EST server. Unset: gateway.ca'),
      est_secret_file: path.optional().describe('File with USER:PASSWORD for HTTP Basic'),
      est_wait: duration('1m').describe('Longest wait for a request that has to be approved first'),
      est_client_key: pathOrObject
        .optional()
        .describe('Key that the device was born with, for TLS to the EST server'),
      est_client_certificate: pathOrObject
        .optional()
        .describe('Its certificate, with its CAs. Unset: the one with the label of the key'),
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
      max_root_metadata: sizeBetween(64 * KIBIBYTE, 1024 * KIBIBYTE, '64KiB').describe(
        'Largest root metadata file; in TUF 512KiB is always allowed',
      ),
      max_image_metadata: sizeBetween(64 * KIBIBYTE, 64 * 1024 * KIBIBYTE, '8MiB').describe(
        'Largest Targets metadata file of the Image repository',
      ),
    })
    .prefault({}),
  download: z
    .strictObject({
      minimum_rate: size('1KiB').describe('Bytes per second below which a download is an attack'),
      minimum_rate_window: duration('30s').describe('How long it may stay below'),
      attempts: wholeNumber(1, 100).default(5).describe('Tries per image in one cycle'),
      reserve: size('1MiB').describe('Free space that a download must leave'),
    })
    .prefault({}),
  installer: z
    .strictObject({
      type: z.enum(['file', 'ab-slot']).default('file').describe('Where images run from'),
      path: path.optional().describe('file: the file to replace'),
      slot_a: path.optional().describe('ab-slot: block device or file of slot a'),
      slot_b: path.optional().describe('ab-slot: block device or file of slot b'),
      marker: path.optional().describe('ab-slot: active-slot marker read by the boot loader'),
      booted_file: path.optional().describe('ab-slot: file naming the slot that booted, a or b'),
      tries: wholeNumber(1, 16).default(3).describe('ab-slot: boots before falling back'),
      reboot_command: z
        .array(z.string())
        .default([])
        .describe('Program and arguments the daemon reboots with; empty: somebody else reboots')
        .meta({ title: 'list of texts such as ["systemctl", "reboot"]' }),
    })
    .prefault({}),
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

function isBase(base: string): boolean {
  const { username, password, search, hash } = new URL(base);
  return [username, password, search, hash].every((part) => part === '');
}

function parse(amount: string, units: Readonly<Record<string, number>>): number {
  const [, digits, unit] = /^(\d+)(\D*)$/u.exec(amount) ?? [];
  return Number(digits) * (units[unit === '' ? 'B' : (unit ?? '')] ?? Number.NaN);
}

/** In the largest unit that divides it, so that 3600000 reads `1h`. */
function format(amount: number, units: Readonly<Record<string, number>>): string {
  const exact = Object.entries(units).filter(([, one]) => amount % one === 0);
  const [unit, factor] = (amount === 0 ? exact.at(-1) : exact[0]) ?? ['', 1];
  return `${String(amount / factor)}${unit}`;
}
