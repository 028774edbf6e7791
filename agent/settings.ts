/**
 * Every setting: name, type, unit, default and meaning, once.
 *
 * `config.ts` reads files into this shape; `config/schema.json` and the table in `config/README.md`
 * are made from it. No secret is ever a setting: PINs and enrolment secrets are named by file.
 */
import { z } from 'zod';

const DURATION = /^(\d+)(ms|s|m|h|d)$/u;
const SIZE = /^(\d+)(B|KiB|MiB|GiB)?$/u;
const DURATION_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZE_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/** A duration such as `"15m"`, decoded to milliseconds. */
const duration = (byDefault: string): z.ZodDefault<z.ZodCodec<z.ZodString, z.ZodNumber>> =>
  z
    .codec(z.string().regex(DURATION, 'a duration such as "30s", "15m" or "1h"'), z.number(), {
      decode: (text) => parse(text, DURATION, DURATION_MS),
      encode: (ms) => `${String(ms)}ms`,
    })
    .default(parse(byDefault, DURATION, DURATION_MS));

/** A size such as `"64MiB"`, decoded to bytes. */
const size = (byDefault: string): z.ZodDefault<z.ZodCodec<z.ZodString, z.ZodNumber>> =>
  z
    .codec(z.string().regex(SIZE, 'a size such as "64KiB" or "1GiB"'), z.number(), {
      decode: (text) => parse(text, SIZE, SIZE_BYTES),
      encode: (bytes) => `${String(bytes)}B`,
    })
    .default(parse(byDefault, SIZE, SIZE_BYTES));

const path = z.string().startsWith('/', 'an absolute path');
const url = z.url({ protocol: /^https$/u, error: 'an https:// URL' });

export const settingsSchema = z.strictObject({
  gateway: z
    .strictObject({
      url: url.optional().describe('Base of /director, /repo and /events'),
      director_url: url.optional().describe('Base of the Director; from gateway.url'),
      image_url: url.optional().describe('Base of the Image repository; from gateway.url'),
      ca: path.optional().describe('PEM file with the CA of the gateway; system roots'),
      timeout: duration('60s').describe('Longest wait for a connection, headers or a silent body'),
    })
    .prefault({}),
  token: z
    .strictObject({
      module: path.default('/usr/lib/libckteec.so.0').describe('PKCS#11 shared library'),
      uri: z.string().startsWith('pkcs11:').default('pkcs11:token=ota-agent'),
      login: z.enum(['pin', 'none']).default('pin'),
      pin_file: path.optional().describe('File with the user PIN; systemd credential `pin`'),
      so_pin_file: path.optional().describe('File with the SO PIN; systemd credential `so-pin`'),
      tls_backend: z.enum(['auto', 'engine']).default('auto'),
    })
    .prefault({}),
  identity: z
    .strictObject({
      tls_key_type: z.enum(['ec-p256', 'rsa-2048']).default('ec-p256'),
      uptane_key_type: z.enum(['rsa-2048', 'ed25519']).default('rsa-2048'),
    })
    .prefault({}),
  device: z
    .strictObject({ id: z.string().min(1).max(64).optional().describe('Certificate CN') })
    .prefault({}),
  ecu: z
    .strictObject({
      serial: z.string().min(1).max(64).optional().describe('Derived once, then fixed'),
      hardware_id: z.string().min(1).max(200).optional().describe('Host name'),
    })
    .prefault({}),
  provisioning: z
    .strictObject({
      mode: z.enum(['device-cred', 'est', 'manual']).default('device-cred'),
      est_url: url.optional().describe('Base of the EST server, before /.well-known/est'),
      est_ca: path.optional().describe('PEM file with the CA of the EST server; gateway.ca'),
      est_secret_file: path.optional().describe('File with USER:PASSWORD for HTTP Basic'),
      csr_file: path.optional().describe('Where mode `manual` leaves the CSR (PEM)'),
      certificate_file: path.optional().describe('Certificate (PEM) for `manual`, `device-cred`'),
    })
    .prefault({}),
  uptane: z
    .strictObject({
      dialect: z.enum(['uptane']).default('uptane'),
      roots: z
        .tuple([path, path])
        .optional()
        .describe('Pinned root metadata files: Director, Image repository'),
      trust_on_first_use: z.boolean().default(false),
      poll_interval: duration('1h'),
    })
    .prefault({}),
  download: z
    .strictObject({
      minimum_rate: size('1KiB').describe('Bytes per second below which a download is an attack'),
      minimum_rate_window: duration('30s').describe('How long it may stay below'),
      attempts: z.int().min(1).max(100).default(5),
      reserve: size('1MiB').describe('Free space that a download must leave'),
    })
    .prefault({}),
  installer: z
    .strictObject({
      type: z.enum(['file', 'ab-slot']).default('file'),
      path: path.optional().describe('file: the file to replace'),
      slot_a: path.optional().describe('ab-slot: block device or file of slot a'),
      slot_b: path.optional().describe('ab-slot: block device or file of slot b'),
      marker: path.optional().describe('ab-slot: active-slot marker read by the boot loader'),
      booted_file: path.optional().describe('ab-slot: file naming the slot that booted, a or b'),
      tries: z.int().min(1).max(16).default(3).describe('ab-slot: boots before falling back'),
      reboot_command: z.array(z.string()).default([]).describe('Run by the daemon; empty: wait'),
    })
    .prefault({}),
  boot: z
    .strictObject({
      boot_id_file: path.default('/proc/sys/kernel/random/boot_id'),
    })
    .prefault({}),
  storage: z.strictObject({ path: path.default('/var/lib/ota-agent') }).prefault({}),
  api: z.strictObject({ socket: path.default('/run/ota-agent/api.sock') }).prefault({}),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
      format: z.enum(['auto', 'journal', 'json', 'pretty']).default('auto'),
    })
    .prefault({}),
});

/** Decoded and complete: durations in milliseconds, sizes in bytes. */
export type Settings = z.output<typeof settingsSchema>;

function parse(text: string, form: RegExp, units: Readonly<Record<string, number>>): number {
  const [, digits, unit] = form.exec(text) ?? [];
  return Number(digits) * (units[unit ?? 'B'] ?? 1);
}
