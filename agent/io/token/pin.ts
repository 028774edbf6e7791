/** PINs: where they come from, and an object that does not show them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';

import { causeOf, OtaError } from '../../errors.ts';

export type PinKind = 'user' | 'so';

export interface PinSettings {
  readonly pin_file?: string | undefined;
  readonly so_pin_file?: string | undefined;
}

/** A PIN that logs, JSON and error messages cannot show by accident. */
export class Pin {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return '[PIN]';
  }

  toJSON(): string {
    return '[PIN]';
  }

  [inspect.custom](): string {
    return '[PIN]';
  }
}

const SOURCES = {
  user: { setting: 'pin_file', credential: 'pin', variable: 'OTA_AGENT_PIN' },
  so: { setting: 'so_pin_file', credential: 'so-pin', variable: 'OTA_AGENT_SO_PIN' },
} as const;

/**
 * Reads a PIN from the file in the settings, else the systemd credential, else the environment.
 *
 * The environment comes last because every child process inherits it. One trailing newline is
 * removed: editors add it, and a token counts it as a wrong try.
 *
 * @throws OtaError TOKEN_PIN_MISSING if there is none, or an empty one
 * @throws OtaError FILE_UNREADABLE if the settings name a file that cannot be read
 */
export function readPin(kind: PinKind, settings: PinSettings, env: NodeJS.ProcessEnv): Pin {
  const { setting, credential, variable } = SOURCES[kind];
  const text =
    readNamedFile(settings[setting], setting) ??
    readCredential(env['CREDENTIALS_DIRECTORY'], credential) ??
    env[variable];
  const pin = text?.replace(/\r?\n$/u, '');
  if (pin === undefined || pin === '') {
    throw new OtaError('TOKEN_PIN_MISSING', {
      which: kind === 'user' ? 'user PIN' : 'SO PIN',
      remedy: `set token.${setting}, or the systemd credential "${credential}"`,
    });
  }
  return new Pin(pin);
}

function readNamedFile(path: string | undefined, setting: string): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const remedy = `check token.${setting} and the permissions of the file`;
    const details = { path, what: 'PIN', cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}

function readCredential(directory: string | undefined, name: string): string | undefined {
  if (directory === undefined) return undefined;
  const path = join(directory, name);
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    const remedy = `check LoadCredential=${name} of the service`;
    const details = { path, what: 'PIN', cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}
