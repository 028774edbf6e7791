/** The kinds of values that settings are made of: `title` names each for people. */
import * as z from 'zod';

import { parsePkcs11Uri, PKCS11_PREFIX, type UriUse } from './config-pkcs11-uri.ts';
import { isOtaError } from './errors.ts';

const DURATION = /^\d{1,9}(ms|s|m|h|d)$/u;
const SIZE = /^\d{1,12}(B|KiB|MiB|GiB)?$/u;
const DURATION_MS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
const SIZE_BYTES = { GiB: 1024 ** 3, MiB: 1024 ** 2, KiB: 1024, B: 1 } as const;

export const KIBIBYTE = SIZE_BYTES.KiB;

/** Timers count in 31 bits: a longer one would fire at once, for ever. */
const MAX_DURATION_MS = 24 * DURATION_MS.d;

const LONGEST_AGE_MS = 36_500 * DURATION_MS.d;

/** A duration such as `"15m"`, decoded to milliseconds. */
export const duration = (byDefault: string): z.ZodDefault<z.ZodCodec<z.ZodString, z.ZodNumber>> =>
  z
    .codec(z.string().regex(DURATION), z.number().min(1).max(MAX_DURATION_MS), {
      decode: (text) => parse(text, DURATION_MS),
      encode: (ms) => format(ms, DURATION_MS),
    })
    .default(parse(byDefault, DURATION_MS))
    .meta({ title: 'duration from "1ms" to "24d", such as "15m"' });

/** Longer than any timer: compared with dates, never waited for. */
export const age = z
  .codec(z.string().regex(DURATION), z.number().min(DURATION_MS.m).max(LONGEST_AGE_MS), {
    decode: (text) => parse(text, DURATION_MS),
    encode: (ms) => format(ms, DURATION_MS),
  })
  .meta({ title: 'duration from "1m" to "36500d", such as "365d"' });

/** A size that has no default. */
export const optionalSize = z
  .codec(z.string().regex(SIZE), z.number().min(1).max(Number.MAX_SAFE_INTEGER), {
    decode: (text) => parse(text, SIZE_BYTES),
    encode: (bytes) => format(bytes, SIZE_BYTES),
  })
  .optional()
  .meta({ title: 'size such as "64MiB"' });

/** A size such as `"64MiB"`, decoded to bytes. */
export const size = (byDefault: string): z.ZodDefault<z.ZodCodec<z.ZodString, z.ZodNumber>> =>
  sizeBetween(0, Number.MAX_SAFE_INTEGER, byDefault).meta({ title: 'size such as "64MiB"' });

export const sizeBetween = (
  min: number,
  max: number,
  byDefault: string,
): z.ZodDefault<z.ZodCodec<z.ZodString, z.ZodNumber>> =>
  sizes(min, max)
    .default(parse(byDefault, SIZE_BYTES))
    .meta({ title: `size from "${format(min, SIZE_BYTES)}" to "${format(max, SIZE_BYTES)}"` });

/** A size without a default. */
export const sizeFrom = (min: number): z.ZodCodec<z.ZodString, z.ZodNumber> =>
  sizes(min, Number.MAX_SAFE_INTEGER).meta({
    title: `size from "${format(min, SIZE_BYTES)}", such as "64MiB"`,
  });

function sizes(min: number, max: number): z.ZodCodec<z.ZodString, z.ZodNumber> {
  return z.codec(z.string().regex(SIZE), z.number().min(min).max(max), {
    decode: (text) => parse(text, SIZE_BYTES),
    encode: (bytes) => format(bytes, SIZE_BYTES),
  });
}

/** Absolute: a daemon has no working directory to speak of. */
export const path = z
  .string()
  .regex(/^\/[^\0]*$/u)
  .meta({ title: 'absolute path' });

/** The base of other URLs, so it has no query; and no password, which would be a secret in a file. */
export const url = z
  .url({ protocol: /^https$/u, abort: true })
  .regex(/^https:\/\//u)
  .refine(isBase, 'must have neither user name, password, query nor fragment')
  .meta({ title: 'https URL' });

/** No password: that would be a secret in a file that others read. It belongs into HTTPS_PROXY. */
export const proxy = z
  .string()
  .regex(/^(?:direct|https?:\/\/[^/@\s]+\/?)$/u)
  .refine((text) => text === 'direct' || URL.canParse(text))
  .meta({ title: 'URL of an HTTP proxy such as "http://proxy:3128", or "direct"' });

export const pkcs11Uri = (use: UriUse): z.ZodString =>
  z
    .string()
    .regex(/^pkcs11:/u)
    .check(
      z.superRefine((uri, context) => {
        refuseUri(uri, use, context);
      }),
    )
    .meta({ title: `PKCS#11 URI (RFC 7512) of a ${use}` });

/** A PEM file, or an object in the token. */
export const fileOr = (use: Exclude<UriUse, 'token'>): z.ZodString =>
  z
    .string()
    .regex(/^(?:\/[^\0]*|pkcs11:.*)$/su)
    .check(
      z.superRefine((uri, context) => {
        if (uri.startsWith(PKCS11_PREFIX)) refuseUri(uri, use, context);
      }),
    )
    .meta({ title: `absolute path, or PKCS#11 URI (RFC 7512) of a ${use}` });

export const pin = z
  .string()
  .regex(/^sha256\/[A-Za-z0-9+/]{43}=$/u)
  .meta({ title: 'pin such as "sha256/BASE64="' });

export const text = (maxLength: number): z.ZodString =>
  z
    .string()
    .min(1)
    .max(maxLength)
    .meta({ title: `text of 1 to ${String(maxLength)} characters` });

export const wholeNumber = (min: number, max: number): z.ZodInt =>
  z
    .int()
    .min(min)
    .max(max)
    .meta({ title: `whole number from ${String(min)} to ${String(max)}` });

function isBase(base: string): boolean {
  const { username, password, search, hash } = new URL(base);
  return [username, password, search, hash].every((part) => part === '');
}

function refuseUri(uri: string, use: UriUse, context: z.RefinementCtx): void {
  if (!uri.startsWith(PKCS11_PREFIX)) return;
  try {
    parsePkcs11Uri(uri, use, '');
  } catch (error) {
    if (!isOtaError(error) || error.code !== 'CONFIG_INVALID') throw error;
    const { problem, remedy } = error.details;
    context.addIssue({ code: 'custom', message: `${problem}; ${remedy}` });
  }
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
